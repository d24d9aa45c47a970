//! A record and its mapping, and the event that comes of them.

use serde_json::{Map, Value, json};
use sightline_schemas::edge::{Reason, Reject};

use super::convert::Convert;
use super::template::look_up;
use super::{Case, EntitySlot, Keep, Mapping, Origin, Pattern, Rule, Slot, Slots, text_of};

/// What becomes of a record.
#[derive(Debug, PartialEq)]
pub enum Mapped {
    /// The members of an event.
    Event(Map<String, Value>),
    /// The mapping says that such records are left out.
    Skip,
}

impl Mapping {
    /// Makes an event of a record.
    ///
    /// # Errors
    /// When no case takes the record, or a time in it cannot be read.
    pub fn apply(&self, record: &Value, origin: &Origin) -> Result<Mapped, Reject> {
        let case = match self.cases.is_empty() {
            true => None,
            false => Some(self.cases.iter().find(|case| case.holds(record, origin)).ok_or_else(|| {
                Reject::new(Reason::BadField, format!("no case of mapping `{}` takes this record", self.name))
            })?),
        };
        if case.is_some_and(|case| case.skip.is_some()) {
            return Ok(Mapped::Skip);
        }
        let mut layers = vec![&self.base];
        layers.extend(case.map(|case| &case.slots));
        let mut event = match (self.pass, record) {
            (true, Value::Object(members)) => members.clone(),
            _ => Map::new(),
        };
        let filler = Filler { record, origin };
        filler.single(&layers, &mut event)?;
        for layer in &layers {
            filler.objects(layer, &mut event)?;
        }
        filler.lists(&layers, &mut event)?;
        let fields = filler.fields(&layers, self.pass)?;
        if !fields.is_empty() {
            match event.get_mut("fields") {
                Some(Value::Object(there)) => there.extend(fields),
                _ => drop(event.insert("fields".to_owned(), Value::Object(fields))),
            }
        }
        Ok(Mapped::Event(event))
    }
}

impl Case {
    fn holds(&self, record: &Value, origin: &Origin) -> bool {
        self.when.iter().all(|(path, patterns)| {
            let found = look_up(path, record, origin);
            patterns.iter().any(|pattern| pattern.fits(found.as_ref()))
        })
    }
}

impl Pattern {
    fn fits(&self, found: Option<&Value>) -> bool {
        match (self, found) {
            (Pattern::Absent, found) => found.is_none(),
            (Pattern::Glob(_), None) => false,
            (Pattern::Glob(glob), Some(Value::Array(items))) => {
                items.iter().any(|item| text_of(item).is_some_and(|text| fits(glob, &text)))
            }
            (Pattern::Glob(glob), Some(value)) => match text_of(value) {
                Some(text) => fits(glob, &text),
                None => glob == "*",
            },
        }
    }
}

/// Whether text is what a pattern says, `*` standing for anything, in any case.
fn fits(glob: &str, text: &str) -> bool {
    let text = text.to_lowercase();
    let glob = glob.to_lowercase();
    let mut parts = glob.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Fills the members of an event from one record.
struct Filler<'a> {
    record: &'a Value,
    origin: &'a Origin,
}

impl Filler<'_> {
    fn value(&self, slot: &Slot) -> Result<Option<Value>, Reject> {
        match slot {
            Slot::Fixed(value) => Ok(Some(value.clone())),
            Slot::Text(template) => Ok(template.fill(self.record, self.origin)),
            Slot::First(slots) => {
                for slot in slots {
                    if let Some(value) = self.value(slot)? {
                        return Ok(Some(value));
                    }
                }
                Ok(None)
            }
            Slot::Rule(rule) => self.rule(rule),
        }
    }

    fn rule(&self, rule: &Rule) -> Result<Option<Value>, Reject> {
        let mut value = self.value(&rule.value)?;
        for convert in &rule.convert {
            value = match value {
                Some(value) => converted(convert, value)?,
                None => None,
            };
        }
        if !rule.map.is_empty() {
            let word = value.as_ref().and_then(text_of);
            let known =
                word.and_then(|word| rule.map.iter().find(|(from, _)| from.eq_ignore_ascii_case(&word)));
            value = match (known, &rule.otherwise) {
                (Some((_, to)), _) => Some(to.clone()),
                // A word that nobody knows goes on as it is: the edge keeps it as `severity_raw`.
                (None, None) => value,
                (None, Some(_)) => None,
            };
        }
        match (&value, &rule.otherwise) {
            (None, Some(otherwise)) => self.value(otherwise),
            _ => Ok(value),
        }
    }

    /// What a case gives takes the place of what `event` gives, which is not even looked at then.
    fn single(&self, layers: &[&Slots], event: &mut Map<String, Value>) -> Result<(), Reject> {
        let mut filled = Vec::new();
        for (name, slot) in layers.iter().rev().flat_map(|slots| &slots.single) {
            if filled.contains(name) {
                continue;
            }
            if let Some(value) = self.value(slot)? {
                // Text is what every single member is at the edge.
                let value = text_of(&value).map(|text| Value::String(text.into_owned())).unwrap_or(value);
                event.insert((*name).to_owned(), value);
                filled.push(name);
            }
        }
        Ok(())
    }

    fn objects(&self, slots: &Slots, event: &mut Map<String, Value>) -> Result<(), Reject> {
        for (name, members) in &slots.objects {
            let mut object = match event.remove(*name) {
                Some(Value::Object(there)) => there,
                _ => Map::new(),
            };
            for (member, slot) in members {
                if let Some(value) = self.value(slot)? {
                    object.insert(member.clone(), value);
                }
            }
            if !object.is_empty() {
                event.insert((*name).to_owned(), Value::Object(object));
            }
        }
        Ok(())
    }

    fn lists(&self, layers: &[&Slots], event: &mut Map<String, Value>) -> Result<(), Reject> {
        let of = |part: fn(&Slots) -> &Vec<Slot>| self.texts(layers.iter().flat_map(|slots| part(slots)));
        let tags = of(|slots| &slots.tags)?;
        if !tags.is_empty() {
            event.insert("tags".to_owned(), tags.into());
        }
        let (tactics, techniques) = (of(|slots| &slots.tactics)?, of(|slots| &slots.techniques)?);
        if !tactics.is_empty() || !techniques.is_empty() {
            event.insert("attack".to_owned(), json!({ "tactics": tactics, "techniques": techniques }));
        }
        let mut entities = Vec::new();
        for slot in layers.iter().flat_map(|slots| &slots.entities) {
            self.entity(slot, &mut entities)?;
        }
        if !entities.is_empty() {
            event.insert("entities".to_owned(), entities.into());
        }
        Ok(())
    }

    /// The texts of all values, lists taken apart, each once.
    fn texts<'s>(&self, slots: impl Iterator<Item = &'s Slot>) -> Result<Vec<String>, Reject> {
        let mut texts: Vec<String> = Vec::new();
        for slot in slots {
            let items = match self.value(slot)? {
                Some(Value::Array(items)) => items,
                Some(value) => vec![value],
                None => continue,
            };
            for text in items.iter().filter_map(text_of) {
                if !text.trim().is_empty() && !texts.iter().any(|there| *there == text) {
                    texts.push(text.into_owned());
                }
            }
        }
        Ok(texts)
    }

    fn entity(&self, slot: &EntitySlot, entities: &mut Vec<Value>) -> Result<(), Reject> {
        let Some(kind) = self.value(&slot.kind)? else { return Ok(()) };
        let role = slot.role.as_ref().map(|role| self.value(role)).transpose()?.flatten();
        for value in self.texts(std::iter::once(&slot.value))? {
            let mut entity = json!({ "type": kind, "value": value });
            if let Some(role) = &role {
                entity["role"] = role.clone();
            }
            if !entities.contains(&entity) {
                entities.push(entity);
            }
        }
        Ok(())
    }

    fn fields(&self, layers: &[&Slots], pass: bool) -> Result<Map<String, Value>, Reject> {
        let keep = layers.iter().rev().find_map(|slots| slots.keep.as_ref());
        let mut fields = match (keep, self.record) {
            // A record that is an event already keeps what it has.
            (None, _) if pass => Map::new(),
            (None | Some(Keep::All), Value::Object(members)) => members.clone(),
            (Some(Keep::Some(paths)), record) => {
                paths.iter().filter_map(|path| Some((path.as_str().to_owned(), path.find(record)?))).collect()
            }
            _ => Map::new(),
        };
        for path in layers.iter().flat_map(|slots| &slots.drop) {
            remove(&mut fields, path.as_str());
        }
        for path in layers.iter().flat_map(|slots| &slots.spread) {
            if let Some(Value::Object(members)) = path.find(self.record) {
                remove(&mut fields, path.as_str());
                fields.extend(members);
            }
        }
        for (name, slot) in layers.iter().flat_map(|slots| &slots.set) {
            if let Some(value) = self.value(slot)? {
                fields.insert(name.clone(), value);
            }
        }
        Ok(fields)
    }
}

/// Takes out what stands at a path, and objects that are empty then.
fn remove(fields: &mut Map<String, Value>, path: &str) {
    if fields.remove(path).is_some() {
        return;
    }
    if let Some((first, rest)) = path.split_once('.')
        && let Some(Value::Object(inner)) = fields.get_mut(first)
    {
        remove(inner, rest);
        if inner.is_empty() {
            fields.remove(first);
        }
    }
}

fn converted(convert: &Convert, value: Value) -> Result<Option<Value>, Reject> {
    // Each of a list by itself, where it is not the list that is meant.
    if let Value::Array(items) = value {
        let mut all = Vec::with_capacity(items.len());
        for item in items {
            all.extend(converted(convert, item)?);
        }
        return Ok(Some(all.into()));
    }
    convert.apply(value).map_err(|why| Reject::new(Reason::BadTime, why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::read;

    fn event(mapping: &str, record: &Value) -> Result<Mapped, Reject> {
        read("test.yaml", "test", mapping).expect("a mapping").apply(record, &Origin::default())
    }

    const SAMPLE: &str = r#"
about: a test
event:
  source: fw
  kind: "fw.{action}"
  occurred_at: {value: "{t}", as: epoch}
  severity: {value: "{level}", map: {1: high, 2: low}, otherwise: info}
  host_id: ["{host.name}", "{host_name}"]
  network: {src_ip: "{src}", dst_port: "{port}"}
  tags: [fw, "{labels}"]
  entities: [{type: ip, value: ["{src}"], role: src_ip}]
  fields: {drop: [t, labels], spread: [data], set: {rule: "{r.id}"}}
cases:
  - when: {action: stats}
    skip: counters are no events
  - when: {action: [drop, "rej*"]}
    event: {class: alert, tags: [blocked]}
  - event: {}
"#;

    #[test]
    fn a_record_becomes_an_event() {
        let record = json!({"t": 1.5, "action": "Reject", "level": 1, "host_name": "fw1", "src": "10.0.0.1",
            "port": 22, "labels": ["a", "fw"], "data": {"x": 1}, "r": {"id": "r7"}});
        let Ok(Mapped::Event(made)) = event(SAMPLE, &record) else { panic!("an event") };
        let expected = json!({
            "source": "fw", "kind": "fw.Reject", "class": "alert", "severity": "high", "host_id": "fw1",
            "occurred_at": "1970-01-01T00:00:01.500Z", "network": {"src_ip": "10.0.0.1", "dst_port": 22},
            "tags": ["fw", "a", "blocked"],
            "entities": [{"type": "ip", "value": "10.0.0.1", "role": "src_ip"}],
            "fields": {"action": "Reject", "level": 1, "host_name": "fw1", "src": "10.0.0.1", "port": 22, "x": 1,
                       "r": {"id": "r7"}, "rule": "r7"},
        });
        assert_eq!(Value::Object(made), expected);
    }

    #[test]
    fn what_is_left_out_and_what_cannot_be_read() {
        assert_eq!(event(SAMPLE, &json!({"action": "stats"})), Ok(Mapped::Skip));
        let bad = event(SAMPLE, &json!({"action": "drop", "t": "yesterday"})).expect_err("no time");
        assert_eq!(bad.reason, Reason::BadTime);
        let none = event("about: x\nevent: {source: s}\ncases: [{when: {a: 1}}]", &json!({"a": 2}));
        assert!(none.expect_err("no case").detail.contains("no case"));
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once_with_its_line() {
        let text = "about: x\nformt: json\nevent:\n  severity: {value: \"{s}\", map: {1: hgh}}\n  class: alrt\n  \
                    occured_at: \"{t}\"\n  kind: \"{a\"\n  tags: {value: \"{x}\", as: lowr}\n  title: \"{$fil}\"\n";
        let problems = read("m.yaml", "m", text).expect_err("full of mistakes");
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        for part in [
            "m.yaml:2: a mapping has no `formt`: did you mean `format`?",
            "m.yaml:4: `severity` cannot be `hgh`",
            "m.yaml:5: `class` cannot be `alrt`",
            "m.yaml:6: an event has no `occured_at`: did you mean `occurred_at`?",
            "m.yaml:7: \"{a\": a `{` without its `}`",
            "m.yaml:8: no such conversion `lowr`: did you mean `lower`?",
            "m.yaml:9: there is no `$fil`: did you mean `file`?",
            "m.yaml:1: `event.source` is missing",
        ] {
            assert!(said.iter().any(|line| line.starts_with(part)), "{part}: {said:#?}");
        }
    }
}
