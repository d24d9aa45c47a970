//! What came out, and how it differs from what should have.

use std::collections::BTreeMap;
use std::fmt;

use async_nats::jetstream::Context;
use bytes::Bytes;
use futures_util::future::join_all;

/// How many messages are asked for at a time.
const ASKED_AT_ONCE: u64 = 200;

/// One message of an output log, without what the server's chain of messages needs (`Nats-…`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Output {
    /// Which log.
    pub stream: &'static str,
    /// `Sightline-Position`: what caused it.
    pub position: String,
    /// Its subject.
    pub subject: String,
    /// Its headers, sorted.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Bytes,
}

/// Both output logs, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outputs(Vec<Output>);

/// How outputs differ from what they should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Positions at which something is missing.
    pub lost: Vec<String>,
    /// Positions at which something is said more than once, or that say something although they should not.
    pub doubled: Vec<String>,
    /// Positions at which something else is said.
    pub differing: Vec<String>,
}

impl Outputs {
    /// Reads both logs whole.
    pub async fn read(context: &Context) -> Self {
        let mut outputs = Vec::new();
        for stream in ["INCIDENTS", "DEADLETTER"] {
            let mut handle = context.get_stream(stream).await.expect("the stream");
            let last = handle.info().await.expect("its state").state.last_sequence;
            let mut first = 1;
            while first <= last {
                let asked = first..(first + ASKED_AT_ONCE).min(last + 1);
                first = asked.end;
                for message in join_all(asked.map(|seq| handle.get_raw_message(seq))).await {
                    let message = message.expect("every sequence has a message");
                    let mut headers: Vec<(String, String)> = Vec::new();
                    for (name, values) in message.headers.iter() {
                        let name = name.to_string();
                        if !name.starts_with("Nats-") {
                            headers.extend(values.iter().map(|value| (name.clone(), value.to_string())));
                        }
                    }
                    headers.sort();
                    let position = headers.iter().find(|(name, _)| name == "Sightline-Position");
                    outputs.push(Output {
                        stream,
                        position: position.expect("each names its cause").1.clone(),
                        subject: message.subject.to_string(),
                        headers,
                        body: Bytes::copy_from_slice(&message.payload),
                    });
                }
            }
        }
        Outputs(outputs)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// How many of one log.
    pub fn len_of(&self, stream: &str) -> usize {
        self.0.iter().filter(|output| output.stream == stream).count()
    }

    /// How these differ from what they should be.
    pub fn difference(&self, expected: &Outputs) -> Difference {
        let (found, expected) = (self.by_place(), expected.by_place());
        let mut difference = Difference::default();
        for (place, outputs) in &found {
            let name = format!("{} {}", place.0, place.1);
            match expected.get(place) {
                Some(wanted) if outputs.len() > wanted.len() => difference.doubled.push(name),
                Some(wanted) if outputs != wanted => difference.differing.push(name),
                Some(_) => {}
                None => difference.doubled.push(name),
            }
        }
        let lost = expected.keys().filter(|place| !found.contains_key(*place));
        difference.lost.extend(lost.map(|place| format!("{} {}", place.0, place.1)));
        difference
    }

    fn by_place(&self) -> BTreeMap<(&str, &str), Vec<&Output>> {
        let mut by_place: BTreeMap<(&str, &str), Vec<&Output>> = BTreeMap::new();
        for output in &self.0 {
            by_place.entry((output.stream, &output.position)).or_default().push(output);
        }
        by_place
    }

    /// Asserts that these are the expected ones, byte for byte and in the same order.
    pub fn assert_same(&self, expected: &Outputs) {
        let difference = self.difference(expected);
        assert!(difference == Difference::default(), "{difference}\n{}", self.first_unlike(expected));
        assert!(self == expected, "the order differs: {}", self.first_unlike(expected));
    }

    fn first_unlike(&self, expected: &Outputs) -> String {
        let unlike = self.0.iter().zip(&expected.0).find(|(found, expected)| found != expected);
        match unlike {
            Some((found, expected)) => format!("found {found:?}\nexpected {expected:?}"),
            None => format!("{} found, {} expected", self.len(), expected.len()),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, places) in
            [("lost", &self.lost), ("doubled", &self.doubled), ("differing", &self.differing)]
        {
            let first = places.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
            write!(out, "{} {what} ({first}) ", places.len())?;
        }
        Ok(())
    }
}
