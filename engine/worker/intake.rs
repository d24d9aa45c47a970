//! From messages to facts: decode, time, source; or a dead letter.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;

use sightline_core::detect::{Memo, event_hits};
use sightline_schemas::cloudevents;
use sightline_schemas::control::{IncidentCommand, RulesMessage};
use sightline_schemas::deadletter::DeadLetter;
use sightline_schemas::edge::{Draft, Reason, Reject};
use sightline_schemas::subject::{CONTROL_RULES, CONTROL_TICK, EventSubject, tenant_of_command};
use sightline_schemas::wire::{self, Form};
use sightline_schemas::{Event, EventId, EventTime, Position, TimeSource};

use crate::bus::LogMessage;
use crate::worker::partition::CommandAt;
use crate::worker::reading::{Readers, Taken};
use crate::worker::unpack::unpack;

/// Most bytes that a compressed rules message may grow to: more than any rule collection has.
const RULES_BYTES_MAX: u64 = 64 << 20;

/// Where events of a file belong that name no tenant.
const DEFAULT_TENANT: &str = "default";

/// Room for unpacked messages that is kept from one to the next.
const UNPACKED_KEPT_BYTES: usize = 4 << 20;

/// Counts of one source in a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceTally {
    /// Events that were decoded.
    pub events: u64,
    /// Events whose time is suspect.
    pub suspect: u64,
    /// Events that were known already.
    pub duplicates: u64,
    /// Events too late for a key.
    pub late: u64,
    /// Dead letters, by reason.
    pub dead: HashMap<Reason, u64>,
}

/// What was taken in from a batch, beside the facts.
#[derive(Debug, Default)]
pub struct Report {
    /// Counts by source.
    pub sources: HashMap<Arc<str>, SourceTally>,
    /// The source of each event that has hits, in input order.
    pub origins: Vec<(Position, Arc<str>)>,
    /// What could not be read.
    pub dead: Vec<DeadLetter>,
}

/// The source of what comes from no source: commands, rules, subjects that cannot be read.
const NO_SOURCE: &str = "unknown";

impl Report {
    /// Takes a dead letter in, and counts it.
    pub fn bury(&mut self, source: Option<&Arc<str>>, letter: DeadLetter) {
        let source = source.cloned().unwrap_or_else(|| Arc::from(NO_SOURCE));
        *self.source(&source).dead.entry(letter.reason).or_default() += 1;
        self.dead.push(letter);
    }

    /// What was taken in behind it.
    pub fn append(&mut self, mut later: Report) {
        self.origins.append(&mut later.origins);
        self.dead.append(&mut later.dead);
        for (source, tally) in later.sources {
            let known = self.source(&source);
            known.events += tally.events;
            known.suspect += tally.suspect;
            known.duplicates += tally.duplicates;
            known.late += tally.late;
            for (reason, count) in tally.dead {
                *known.dead.entry(reason).or_default() += count;
            }
        }
    }

    /// The counts of a source.
    pub fn source(&mut self, source: &Arc<str>) -> &mut SourceTally {
        // Nearly always it is known; whoever reads beside us then counts no reference that we wait for.
        if !self.sources.contains_key(source) {
            self.sources.insert(Arc::clone(source), SourceTally::default());
        }
        self.sources.get_mut(source).expect("it was just put there")
    }
}

/// Takes messages in, one after the other. Log time never goes back here.
#[derive(Debug)]
pub struct Intake {
    log_time: EventTime,
    subjects: HashMap<Arc<str>, Known>,
    /// The subject of the message before: most messages come on few subjects.
    latest: Option<(Arc<str>, Known)>,
    unpacked: Vec<u8>,
    memo: Memo,
}

#[derive(Clone, Debug)]
struct Known {
    subject: Arc<EventSubject>,
    tenant: Arc<str>,
    source: Arc<str>,
}

impl Known {
    fn new(subject: EventSubject) -> Self {
        let (tenant, source) = (Arc::from(subject.tenant.as_str()), Arc::from(subject.source.as_str()));
        Known { subject: Arc::new(subject), tenant, source }
    }
}

/// Subjects remembered as they were read; beyond that they are read again each time.
const SUBJECTS_KEPT_MAX: usize = 4_096;

impl Intake {
    /// With log time as it was at the last message before.
    pub fn new(log_time: EventTime) -> Self {
        Intake {
            log_time,
            subjects: HashMap::new(),
            latest: None,
            unpacked: Vec::new(),
            memo: Memo::default(),
        }
    }

    /// Log time at the last message.
    pub fn log_time(&self) -> EventTime {
        self.log_time
    }

    /// Somebody else took in the messages up to this log time.
    pub fn set_log_time(&mut self, log_time: EventTime) {
        self.log_time = log_time;
    }

    /// Log time behind these messages of the bus.
    pub fn log_time_behind(&self, messages: &[LogMessage]) -> EventTime {
        let received = messages.iter().filter_map(|message| message.received_at);
        received.max().map_or(self.log_time, |newest| newest.max(self.log_time))
    }

    /// Takes in one message.
    pub fn take(&mut self, message: &LogMessage, by: &mut Readers<'_>, into: &mut Taken) {
        if let Some(received) = message.received_at {
            self.log_time = self.log_time.max(received);
        }
        match message.subject.as_deref() {
            Some(CONTROL_TICK) => {}
            Some(CONTROL_RULES) => match read_rules(message) {
                Ok(rules) => into.rules = Some(Box::new(rules)),
                Err(reject) => {
                    self.bury(message, Position::new(message.seq, 0), &reject, &message.body, None, into);
                }
            },
            Some(subject) if subject.starts_with("control.") => self.take_command(subject, message, into),
            _ => self.take_events(message, by, into),
        }
        into.facts.times.push((message.seq, self.log_time));
    }

    fn take_command(&mut self, subject: &str, message: &LogMessage, into: &mut Taken) {
        let position = Position::new(message.seq, 0);
        let read = || -> Result<CommandAt, Reject> {
            let tenant = tenant_of_command(subject).ok_or_else(|| {
                Reject::new(Reason::BadSubject, format!("subject {subject:?} takes no command"))
            })?;
            let bad = |detail: String| Reject::new(Reason::BadCommand, detail);
            let command: IncidentCommand = serde_json::from_slice(&message.body)
                .map_err(|error| bad(format!("not a command: {error}")))?;
            let asked = command.asked().map_err(bad)?;
            Ok(CommandAt { position, tenant, command, asked, body: message.body.clone() })
        };
        match read() {
            Ok(command) => into.facts.commands.push(command),
            Err(reject) => self.bury(message, position, &reject, &message.body, None, into),
        }
    }

    fn take_events(&mut self, message: &LogMessage, by: &mut Readers<'_>, into: &mut Taken) {
        let whole = Position::new(message.seq, 0);
        let subject = match &message.subject {
            None => None,
            Some(subject) => match self.known(subject) {
                Ok(subject) => Some(subject),
                Err(reject) => return self.bury(message, whole, &reject, &message.body, None, into),
            },
        };
        let known = subject.as_ref().map(|(_, known)| known);
        let source = known.map(|known| &known.source);
        let mut room = std::mem::take(&mut self.unpacked);
        let body = match &message.content_encoding {
            None => Ok(&message.body[..]),
            Some(encoding) => unpack(&message.body, encoding, &mut room).map(|()| &room[..]),
        };
        let split = |body| {
            let written = Written::of(message.content_type.as_deref())?;
            Ok((written, wire::split(body, written.form())?))
        };
        match body.and_then(split) {
            Ok((written, events)) => {
                for (index, raw) in events.into_iter().enumerate() {
                    let position = Position::new(message.seq, index as u32);
                    let taken = self.take_event(raw, written, known, message, position, by, into);
                    if let Err(reject) = taken {
                        self.bury(message, position, &reject, raw, source, into);
                    }
                }
            }
            Err(reject) => self.bury(message, whole, &reject, &message.body, source, into),
        }
        self.latest = subject;
        room.truncate(0);
        room.shrink_to(UNPACKED_KEPT_BYTES);
        self.unpacked = room;
    }

    #[expect(clippy::too_many_arguments, reason = "one event, its place, and where its facts go")]
    fn take_event(
        &mut self,
        raw: &[u8],
        written: Written,
        known: Option<&Known>,
        message: &LogMessage,
        position: Position,
        by: &mut Readers<'_>,
        into: &mut Taken,
    ) -> Result<(), Reject> {
        let own;
        let draft = written.read(raw)?;
        let known = match known {
            Some(known) => known,
            None => {
                own = Known::new(subject_of(&draft)?);
                &own
            }
        };
        let mut event = draft.into_event(&known.subject, self.log_time, &by.rules.settings.sources)?;
        if message.received_at.is_none() {
            self.follow_event_time(&mut event)?;
        }
        let tally = into.report.source(&known.source);
        tally.events += 1;
        tally.suspect += u64::from(event.time_source == TimeSource::Suspect);
        let before = into.facts.hits.len();
        if let Some(observer) = &mut by.observer {
            event.id = EventId::of(&event, raw);
            observer.event(&event, position);
        }
        event_hits(by.rules, &mut event, raw, &known.tenant, position, &mut self.memo, &mut into.facts.hits);
        into.facts.excepted.extend(self.memo.take_excepted());
        if into.facts.hits.len() > before {
            into.report.origins.push((position, Arc::clone(&known.source)));
        }
        Ok(())
    }

    /// A file has no clock but its events: log time is the newest event time so far.
    fn follow_event_time(&mut self, event: &mut Event<'_>) -> Result<(), Reject> {
        match event.time_source {
            TimeSource::Received if self.log_time == EventTime::MIN => Err(Reject::new(
                Reason::BadTime,
                "no time of its own, and nothing before it in the file to take one from",
            )),
            TimeSource::Received => Ok(()),
            TimeSource::Producer | TimeSource::Suspect => {
                self.log_time = self.log_time.max(event.occurred_at);
                event.received_at = self.log_time;
                event.time_source = TimeSource::Producer;
                Ok(())
            }
        }
    }

    /// What a subject says: taken out, to be put back as the latest.
    fn known(&mut self, subject: &Arc<str>) -> Result<(Arc<str>, Known), Reject> {
        let is_same = |latest: &Arc<str>| Arc::ptr_eq(latest, subject) || latest == subject;
        if let Some(latest) = self.latest.take_if(|(latest, _)| is_same(latest)) {
            return Ok(latest);
        }
        if let Some(known) = self.subjects.get(subject) {
            return Ok((Arc::clone(subject), known.clone()));
        }
        let known = Known::new(EventSubject::parse(subject)?);
        if self.subjects.len() < SUBJECTS_KEPT_MAX {
            self.subjects.insert(Arc::clone(subject), known.clone());
        }
        Ok((Arc::clone(subject), known))
    }

    fn bury(
        &self,
        message: &LogMessage,
        position: Position,
        reject: &Reject,
        body: &[u8],
        source: Option<&Arc<str>>,
        into: &mut Taken,
    ) {
        let subject = message.subject.as_deref().unwrap_or("events");
        let content_type = message.content_type.as_deref();
        into.report.bury(source, DeadLetter::new(subject, position, reject, content_type, body));
    }
}

/// How the events of a message are written.
#[derive(Clone, Copy)]
enum Written {
    Plain(Form),
    /// As JSON, in the envelope of a CloudEvent.
    Enveloped,
}

impl Written {
    fn of(content_type: Option<&str>) -> Result<Self, Reject> {
        match cloudevents::is_enveloped(content_type) {
            true => Ok(Written::Enveloped),
            false => Form::of(content_type).map(Written::Plain),
        }
    }

    const fn form(self) -> Form {
        match self {
            Written::Plain(form) => form,
            Written::Enveloped => Form::Json,
        }
    }

    fn read(self, raw: &[u8]) -> Result<Draft<'_>, Reject> {
        match self {
            Written::Plain(form) => Draft::read(raw, form),
            Written::Enveloped => {
                wire::decode(raw, Form::Json).and_then(cloudevents::open).map(Draft::from_tree)
            }
        }
    }
}

/// An event of a file says itself whose it is and who reports it.
fn subject_of(draft: &Draft<'_>) -> Result<EventSubject, Reject> {
    let source = draft.source().filter(|source| !source.is_empty()).map(str::to_owned);
    let source = source.ok_or_else(|| {
        Reject::new(
            Reason::MissingField,
            "`source` is missing: in a file every event must say who reports it",
        )
    })?;
    Ok(EventSubject { tenant: draft.tenant().unwrap_or(DEFAULT_TENANT).to_owned(), source })
}

/// Reads the rules that a message puts in force.
///
/// # Errors
/// When the body is no rules message.
pub fn read_rules(message: &LogMessage) -> Result<RulesMessage, Reject> {
    let bad = |detail: String| Reject::new(Reason::BadCommand, detail);
    let body = match message.content_encoding.as_deref() {
        None => message.body.to_vec(),
        Some("zstd") => {
            let reader =
                zstd::Decoder::new(&message.body[..]).map_err(|error| bad(format!("not zstd: {error}")))?;
            let mut body = Vec::new();
            let read = reader.take(RULES_BYTES_MAX).read_to_end(&mut body);
            read.map_err(|error| bad(format!("not zstd: {error}")))?;
            body
        }
        Some(other) => return Err(bad(format!("Content-Encoding {other:?}: use zstd or none"))),
    };
    serde_json::from_slice(&body).map_err(|error| bad(format!("not a rules message: {error}")))
}
