//! A service that answers as the recorded ones do, page by page, or misbehaves for as many requests as it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// What it does to a request instead of answering it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Hangs up.
    Down,
    /// Says that it failed.
    Error,
    /// Says something else.
    Rubbish,
    /// Promises more bytes than it sends.
    HalfBody,
    /// Says nothing for longer than anybody waits.
    Silent,
}

/// A list that it serves.
pub struct List {
    pub name: &'static str,
    pub items: Vec<Value>,
    /// Most items a page; none where the list is a bare array.
    pub page_max: Option<usize>,
}

#[derive(Default)]
struct Shop {
    lists: BTreeMap<String, List>,
    things: BTreeMap<String, Value>,
    faults: VecDeque<Fault>,
    asked: Vec<String>,
}

/// A running service.
pub struct Service {
    port: u16,
    shop: Arc<Mutex<Shop>>,
}

impl Service {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let shop = Arc::new(Mutex::new(Shop::default()));
        let served = Arc::clone(&shop);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shop = Arc::clone(&served);
                // Whoever hangs up on us has its reasons.
                std::thread::spawn(move || drop(serve(&stream, &shop)));
            }
        });
        Service { port, shop }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Serves a list at a path, instead of what stood there.
    pub fn list(&self, path: &str, name: &'static str, items: Vec<Value>, page_max: Option<usize>) {
        self.with(|shop| shop.lists.insert(path.to_owned(), List { name, items, page_max }));
    }

    /// Serves one thing at a path.
    pub fn thing(&self, path: &str, thing: Value) {
        self.with(|shop| shop.things.insert(path.to_owned(), thing));
    }

    /// Misbehaves for the next requests.
    pub fn misbehave(&self, faults: &[Fault]) {
        self.with(|shop| shop.faults.extend(faults));
    }

    /// How many faults nobody has met yet.
    pub fn faults_left(&self) -> usize {
        self.with(|shop| shop.faults.len())
    }

    /// What it was asked for.
    pub fn asked(&self) -> Vec<String> {
        self.with(|shop| shop.asked.clone())
    }

    fn with<T>(&self, change: impl FnOnce(&mut Shop) -> T) -> T {
        change(&mut self.shop.lock().expect("nobody panics with it"))
    }
}

fn serve(mut stream: &TcpStream, shop: &Mutex<Shop>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let (fault, answer) = {
        let mut shop = shop.lock().expect("nobody panics with it");
        shop.asked.push(target.clone());
        (shop.faults.pop_front(), shop.answer(&target))
    };
    let (status, body) = match (fault, answer) {
        (Some(Fault::Down), _) => return Ok(()),
        (Some(Fault::Silent), _) => {
            std::thread::sleep(Duration::from_secs(20));
            return Ok(());
        }
        (Some(Fault::Error), _) => (500, "Internal Server Error".to_owned()),
        (Some(Fault::Rubbish), _) => (200, "<html>Welcome to the router</html>".to_owned()),
        (_, Some(answer)) => (200, answer.to_string()),
        (_, None) => (404, json!({"error": "not found"}).to_string()),
    };
    let promised = body.len() + if fault == Some(Fault::HalfBody) { 1_000 } else { 0 };
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {promised}\r\n\r\n"
    )?;
    stream.write_all(body.as_bytes())
}

impl Shop {
    fn answer(&self, target: &str) -> Option<Value> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if let Some(thing) = self.things.get(path) {
            return Some(thing.clone());
        }
        let list = self.lists.get(path)?;
        let Some(page_max) = list.page_max else { return Some(list.items.clone().into()) };
        let number = |name: &str, default: usize| {
            let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            value.and_then(|value| value.parse().ok()).unwrap_or(default)
        };
        let (limit, offset) = (number("limit", 50).min(page_max), number("offset", 0));
        let page: Vec<Value> = list.items.iter().skip(offset).take(limit).cloned().collect();
        Some(json!({ list.name: page, "total": list.items.len(), "query": {} }))
    }
}
