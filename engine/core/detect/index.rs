//! The index: from the members of an event to the steps that might want it.

use rustc_hash::FxHashMap;
use sightline_schemas::{Event, Member};

use crate::detect::catalogue::{Catalogue, NO_PLACE, Tree};
use crate::detect::memo::{Answer, Memo};
use crate::detect::program::Program;
use crate::detect::recall::Recalled;
use crate::detect::search::{Search, SearchBuilder, Searches, Wanted};
use crate::detect::witness::{Answered, Popularity, Sign};
use crate::field::{Beside, Field, Scalar, Standing, beside_of};
use crate::hit::RuleIndex;
use crate::predicate::{Look, Test};

/// A step of a rule.
pub type StepRef = (RuleIndex, u8);

/// Finds, of some steps of a catalogue, those that an event satisfies.
#[derive(Debug)]
pub(super) struct Index {
    /// Tells it from the other indexes of the catalogue.
    number: u32,
    predicates: Vec<Indexed>,
    steps: Vec<(StepRef, u32)>,
    program: Program,
    fields: Vec<FieldIndex>,
    /// Fields that are names of the event itself.
    own: Vec<u32>,
    /// Fields in an object beside the payload.
    beside: Vec<(Beside, u32)>,
    /// Fields that are every value there is.
    anywhere: Vec<u32>,
    /// By the number of a member of the payload: the fields that stand there.
    places: Vec<Place>,
    /// Steps without a witness.
    always: Vec<u32>,
}

/// A predicate, by its number here.
#[derive(Debug)]
struct Indexed {
    /// In the catalogue.
    number: u32,
    answered: Answered,
    /// The steps whose witness it is.
    wakes: Box<[u32]>,
    /// The field of which it is looked for only when somebody asks.
    rest_of: Option<u32>,
}

/// A field that steps read, by its number here.
#[derive(Debug)]
struct FieldIndex {
    /// In the catalogue.
    number: u32,
    texts: Searches<Search>,
    /// Texts that are no witness, where the field is every value there is: looked for when somebody asks.
    rest: Searches<Search>,
    /// Predicates that hold of any value.
    present: Vec<Wanted>,
}

/// A member of the payload.
#[derive(Debug, Default)]
struct Place {
    /// The fields that it is.
    whole: Vec<u32>,
    /// The fields that may be found there.
    inside: Vec<u32>,
}

/// A member that no field stands in.
static NOTHING: Place = Place { whole: Vec::new(), inside: Vec::new() };

/// An index as it grows.
struct Building<'c> {
    catalogue: &'c Catalogue,
    /// By number in the catalogue: the number here, and who is woken.
    predicates: FxHashMap<u32, u32>,
    known: Vec<(u32, Vec<u32>)>,
    fields: FxHashMap<u32, u32>,
    /// By number here: the number in the catalogue, and the predicates of the field.
    asked: Vec<(u32, Vec<u32>)>,
}

impl Building<'_> {
    /// The number here of a predicate.
    fn predicate(&mut self, number: u32) -> u32 {
        if let Some(local) = self.predicates.get(&number) {
            return *local;
        }
        let local = self.known.len() as u32;
        self.predicates.insert(number, local);
        self.known.push((number, Vec::new()));
        let field = self.catalogue.predicates[number as usize].field;
        let next = self.asked.len() as u32;
        let at = *self.fields.entry(field).or_insert(next);
        if at == next {
            self.asked.push((field, Vec::new()));
        }
        self.asked[at as usize].1.push(local);
        local
    }

    fn field(&self, at: u32, rest_of: &mut [Option<u32>]) -> FieldIndex {
        let (number, predicates) = &self.asked[at as usize];
        let is_everything = self.catalogue.fields[*number as usize].standing() == Standing::Anywhere;
        let (mut texts, mut rest) = (Searches::<SearchBuilder>::default(), Searches::default());
        let mut present = Vec::new();
        for local in predicates {
            let (number, wakes) = &self.known[*local as usize];
            let known = &self.catalogue.predicates[*number as usize];
            let test = &known.predicate.test;
            if let Some(witness) = test.witness() {
                let is_rest = is_everything && wakes.is_empty();
                rest_of[*local as usize] = is_rest.then_some(at);
                let texts = if is_rest { &mut rest } else { &mut texts };
                texts.of(witness.case).add(&witness, *local, known.answered == Answered::Wholly);
            } else if *test == Test::Exists {
                present.push(Wanted::answer(*local));
            }
        }
        FieldIndex { number: *number, texts: texts.build(), rest: rest.build(), present }
    }
}

impl Index {
    /// Of these steps. `take` is given the signs of each as they are chosen; `None` where there is no witness.
    pub(super) fn new<'t>(
        number: u32,
        catalogue: &Catalogue,
        steps: impl Iterator<Item = (StepRef, &'t Tree)> + Clone,
        mut take: impl FnMut(Option<&[Sign]>),
    ) -> Self {
        let mut popularity = Popularity::new(catalogue);
        steps.clone().for_each(|(_, tree)| popularity.count(tree));
        let mut building = Building {
            catalogue,
            predicates: FxHashMap::default(),
            known: Vec::new(),
            fields: FxHashMap::default(),
            asked: Vec::new(),
        };
        let effort = |number: u32| {
            let known = &catalogue.predicates[number as usize];
            match (known.answered, &known.predicate.test) {
                (Answered::Wholly, _) => 0,
                (_, Test::Regular(_)) => 1_000,
                (Answered::ByText, _) => 50,
                _ => 100,
            }
        };
        let (mut placed, mut program, mut always) = (Vec::new(), Program::default(), Vec::new());
        for (step, (named, tree)) in (0..).zip(steps) {
            let witness = popularity.witness(tree);
            take(witness.as_ref().map(|witness| witness.signs.as_slice()));
            match &witness {
                None => always.push(step),
                Some(witness) => {
                    for sign in &witness.signs {
                        let seen_by = match sign {
                            Sign::Holds(predicate) => *predicate,
                            Sign::Present(predicate) => {
                                catalogue.present(catalogue.predicates[*predicate as usize].field)
                            }
                        };
                        let seen_by = building.predicate(seen_by);
                        let wakes = &mut building.known[seen_by as usize].1;
                        if wakes.last() != Some(&step) {
                            wakes.push(step);
                        }
                    }
                }
            }
            let begin = program.add(tree, &effort, &mut |number| building.predicate(number));
            placed.push((named, begin));
        }
        building.finish(number, placed, program, always)
    }
}

impl Building<'_> {
    fn finish(self, number: u32, steps: Vec<(StepRef, u32)>, program: Program, always: Vec<u32>) -> Index {
        let catalogue = self.catalogue;
        let mut rest_of = vec![None; self.known.len()];
        let fields: Vec<FieldIndex> =
            (0..self.asked.len() as u32).map(|at| self.field(at, &mut rest_of)).collect();
        let known = self.known.into_iter().zip(rest_of);
        let predicates = known.map(|((number, wakes), rest_of)| {
            let answered = catalogue.predicates[number as usize].answered;
            Indexed { number, answered, wakes: wakes.into(), rest_of }
        });
        let predicates = predicates.collect();
        let (mut own, mut beside, mut anywhere) = (Vec::new(), Vec::new(), Vec::new());
        for (local, field) in (0..).zip(&fields) {
            match catalogue.fields[field.number as usize].standing() {
                Standing::Own => own.push(local),
                Standing::Anywhere if field.is_looked_for() => anywhere.push(local),
                Standing::Anywhere => {}
                Standing::Beside(object, ..) => beside.push((object, local)),
                Standing::Member(_) | Standing::Inside(..) => {}
            }
        }
        let mut places = Vec::new();
        for standpoints in &catalogue.standpoints {
            let mut place = Place::default();
            for standpoint in standpoints {
                let Some(local) = self.fields.get(&standpoint.field) else { continue };
                match standpoint.is_whole {
                    true => place.whole.push(*local),
                    false => place.inside.push(*local),
                }
            }
            places.push(place);
        }
        Index { number, predicates, steps, program, fields, own, beside, anywhere, places, always }
    }
}

impl Index {
    /// Gives every step that the event satisfies to `take`, in the order of the rules. The places of the members of its
    /// payload are in the memo.
    pub(super) fn satisfied(
        &self,
        catalogue: &Catalogue,
        event: &Event<'_>,
        memo: &mut Memo,
        mut take: impl FnMut(StepRef),
    ) {
        memo.make_room(self.predicates.len(), self.fields.len());
        self.look_beside(catalogue, event, memo);
        for (at, member) in event.fields.members().iter().enumerate() {
            let (number, is_first) = memo.places[at];
            let place = if number == NO_PLACE { &NOTHING } else { &self.places[number as usize] };
            for field in &place.inside {
                self.look_for(*field, catalogue, event, memo);
            }
            // Of members of one name the first is the field.
            let (number, whole) = if is_first && !place.whole.is_empty() {
                (number, &place.whole)
            } else {
                (NO_PLACE, &NOTHING.whole)
            };
            if !whole.is_empty() || !self.anywhere.is_empty() {
                self.look_at(member, number, whole, catalogue, memo);
            }
        }
        let mut candidates = std::mem::take(&mut memo.candidates);
        candidates.extend_from_slice(&self.always);
        candidates.sort_unstable();
        candidates.dedup();
        for number in &candidates {
            let (step, begin) = self.steps[*number as usize];
            if self.program.holds(begin, &mut |predicate| self.holds(predicate, catalogue, event, memo)) {
                take(step);
            }
        }
        memo.candidates = candidates;
    }

    /// Looks at everything but the members of the payload.
    fn look_beside(&self, catalogue: &Catalogue, event: &Event<'_>, memo: &mut Memo) {
        let mut found = std::mem::take(&mut memo.in_value);
        found.clear();
        for number in &self.own {
            let index = &self.fields[*number as usize];
            catalogue.fields[index.number as usize].any(event, |value| {
                index.look(value, &index.texts, &mut memo.text, &mut found);
                false
            });
        }
        for number in &self.anywhere {
            let index = &self.fields[*number as usize];
            catalogue.fields[index.number as usize].beside_payload(event, |value| {
                index.look(value, &index.texts, &mut memo.text, &mut found);
                false
            });
        }
        self.note_all(&found, memo);
        memo.in_value = found;
        for (beside, number) in &self.beside {
            if beside_of(event, *beside).is_some() {
                self.look_for(*number, catalogue, event, memo);
            }
        }
    }

    /// Looks at the values of a field that may be somewhere in the event, once.
    fn look_for(&self, number: u32, catalogue: &Catalogue, event: &Event<'_>, memo: &mut Memo) {
        if memo.found_now(number) {
            self.look_through(number, |field| &field.texts, catalogue, event, memo);
        }
    }

    /// Looks for these texts of a field in all its values.
    fn look_through(
        &self,
        number: u32,
        texts: impl Fn(&FieldIndex) -> &Searches<Search>,
        catalogue: &Catalogue,
        event: &Event<'_>,
        memo: &mut Memo,
    ) {
        let mut found = std::mem::take(&mut memo.in_value);
        found.clear();
        let index = &self.fields[number as usize];
        catalogue.fields[index.number as usize].any(event, |value| {
            index.look(value, texts(index), &mut memo.text, &mut found);
            false
        });
        self.note_all(&found, memo);
        memo.in_value = found;
    }

    /// Looks at a member of the payload, which these fields are. What was found in the same text under the same name
    /// before is found again.
    fn look_at(
        &self,
        member: &Member<'_>,
        place: u32,
        whole: &[u32],
        catalogue: &Catalogue,
        memo: &mut Memo,
    ) {
        let (is_read, text) = match (member.text(), whole) {
            // To look for the texts of every value costs no more than to recall it.
            (_, []) => (false, None),
            (Some(text), _) => (false, Some(text)),
            (None, _) => (true, member.value().as_str()),
        };
        let Some(text) = text else {
            let found = self.found_in(member, whole, catalogue, memo);
            self.note_all(&found, memo);
            memo.in_value = found;
            return;
        };
        let mut recall = std::mem::take(&mut memo.recall);
        let at = (self.number, place, is_read);
        let keep_as = match recall.recall(at, text) {
            Recalled::Known(found) => {
                self.note_all(found, memo);
                memo.recall = recall;
                return;
            }
            Recalled::Again(hash) => Some(hash),
            Recalled::Nothing => None,
        };
        let mut found = self.found_in(member, whole, catalogue, memo);
        if let Some(hash) = keep_as {
            found.sort_unstable_by_key(|wanted| wanted.predicate);
            found.dedup_by_key(|wanted| wanted.predicate);
            recall.keep(hash, at, text, &found);
        }
        self.note_all(&found, memo);
        (memo.in_value, memo.recall) = (found, recall);
    }

    /// What is found in a member of the payload, some more than once, in the room that the memo has for it.
    fn found_in(
        &self,
        member: &Member<'_>,
        whole: &[u32],
        catalogue: &Catalogue,
        memo: &mut Memo,
    ) -> Vec<Wanted> {
        let mut found = std::mem::take(&mut memo.in_value);
        found.clear();
        for number in whole {
            let index = &self.fields[*number as usize];
            self.field(*number, catalogue).each(member.value(), |value| {
                index.look(value, &index.texts, &mut memo.text, &mut found);
                false
            });
        }
        for number in &self.anywhere {
            let index = &self.fields[*number as usize];
            self.field(*number, catalogue).deep(member.value(), |value| {
                index.look(value, &index.texts, &mut memo.text, &mut found);
                false
            });
        }
        found
    }

    fn field<'c>(&self, number: u32, catalogue: &'c Catalogue) -> &'c Field {
        &catalogue.fields[self.fields[number as usize].number as usize]
    }

    /// Notes what was found, and wakes whom that concerns.
    fn note_all(&self, found: &[Wanted], memo: &mut Memo) {
        for wanted in found {
            let is_news = match wanted.is_answer {
                true => memo.holds_now(wanted.predicate),
                false => memo.may_hold_now(wanted.predicate),
            };
            if is_news {
                memo.candidates.extend_from_slice(&self.predicates[wanted.predicate as usize].wakes);
            }
        }
    }

    fn holds(&self, number: u32, catalogue: &Catalogue, event: &Event<'_>, memo: &mut Memo) -> bool {
        let indexed = &self.predicates[number as usize];
        match (memo.answer(number), indexed.answered) {
            (Answer::Known(answer), _) => answer,
            // Without what it requires it cannot hold.
            (Answer::Nothing, Answered::Wholly | Answered::ByText) => match indexed.rest_of {
                Some(field) if memo.found_now(field) => {
                    self.look_through(field, |field| &field.rest, catalogue, event, memo);
                    self.holds(number, catalogue, event, memo)
                }
                _ => false,
            },
            _ => {
                let answer = catalogue.predicates[indexed.number as usize].predicate.holds(event);
                memo.note(number, answer)
            }
        }
    }
}

impl FieldIndex {
    fn is_looked_for(&self) -> bool {
        !self.present.is_empty() || !self.texts.sensitive.is_empty() || !self.texts.ignored.is_empty()
    }

    /// Adds what is found of these texts in one value. Some may be added more than once.
    fn look(&self, value: Scalar<'_>, texts: &Searches<Search>, room: &mut String, found: &mut Vec<Wanted>) {
        found.extend_from_slice(&self.present);
        match value {
            Scalar::Text(text) => look_into(text, Look::Texts, texts, room, found),
            other if texts.sensitive.takes_scalars() || texts.ignored.takes_scalars() => {
                look_into(&other.text(), Look::Scalars, texts, room, found);
            }
            _ => {}
        }
    }
}

fn look_into(value: &str, from: Look, texts: &Searches<Search>, room: &mut String, found: &mut Vec<Wanted>) {
    if !texts.sensitive.is_empty() {
        texts.sensitive.look(value, from, |wanted| found.push(wanted));
    }
    if !texts.ignored.is_empty() {
        texts.ignored.look_in_any_case(value, from, room, |wanted| found.push(wanted));
    }
}
