//! Status commands.

use sightline_schemas::control::IncidentCommand;

use crate::correlate::effect::{Effect, Refusal};
use crate::correlate::key_state::{KeyState, Now};

impl KeyState {
    /// Carries out a status command.
    ///
    /// # Errors
    /// When the incident is not here, or cannot go there. Nothing changed then.
    pub fn command(
        &mut self,
        command: &IncidentCommand,
        asked: sightline_schemas::control::Asked,
        now: Now<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let id = command.incident;
        if self.is_forgotten(now.rules, now.log_time) {
            return Err(Refusal::NotFound(id));
        }
        let at = self
            .incidents
            .iter()
            .position(|incident| incident.answers_to(id))
            .ok_or(Refusal::NotFound(id))?;
        let from = self.incidents[at].status;
        if !from.is_active() && asked.status != from && asked.status != sightline_schemas::Status::Open {
            return Err(Refusal::Terminal { id, from: from.as_str() });
        }
        let incident = &mut self.incidents[at];
        let reason = command.reason.as_deref();
        let said = incident.change_status(asked, &command.actor, reason, now.position, now.log_time);
        if let Some(message) = said {
            effects.push(Effect::Publish(Box::new(message)));
            self.touched = now.log_time;
            if from.is_active() && !asked.status.is_active() {
                self.consume(at, now);
            }
        }
        Ok(())
    }

    /// The evidence of an incident that ended opens no other one.
    fn consume(&mut self, at: usize, now: Now<'_>) {
        let span = now.rules.unit_by_id(&self.unit).map_or(0, |unit| unit.span);
        let (first, last) = (self.incidents[at].first.at.minus(span), self.incidents[at].last);
        let mut spent = Vec::new();
        self.members.iter_mut().for_each(|member| member.consume(first, last, &mut spent));
        spent.sort_unstable();
        // Also where the same event satisfied a step without being evidence of it.
        self.members.iter_mut().for_each(|member| member.forget(&spent));
        self.spent.extend(spent);
        self.spent_events = None;
    }
}
