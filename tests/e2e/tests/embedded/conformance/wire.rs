//! The wire between a client and the servers. It breaks connections at chosen messages, holds
//! messages, sends them twice, or answers in ingest's place.

use driftless_e2e_tests::proxy::{Door, Passing, Proxy, Verdict};
use driftless_e2e_tests::stack::Entrance;
use driftless_schemas::proto::{
    ClientFrame, Event, RejectCode, Rejected, Request, Retry, ServerFrame, Submit, event, request,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// The kind of content for which a rule looks in a message.
#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Submit,
    Receipt,
    Updates,
}

impl Kind {
    pub fn named(name: &str) -> Self {
        match name {
            "submit" => Self::Submit,
            "receipt" => Self::Receipt,
            "updates" => Self::Updates,
            _ => panic!("messages are submit, receipt or updates, and not {name}"),
        }
    }

    fn is(self, passing: &Passing) -> bool {
        match passing {
            Passing::Up(frame) => self == Self::Submit && frame.requests.iter().any(|r| submit_of(r).is_some()),
            Passing::Down(frame) => frame.events.iter().any(|event| match event.body {
                Some(event::Body::Receipt(_)) => self == Self::Receipt,
                Some(event::Body::Updates(_) | event::Body::Outcomes(_)) => self == Self::Updates,
                _ => false,
            }),
        }
    }
}

fn submit_of(request: &Request) -> Option<&Submit> {
    match &request.body {
        Some(request::Body::Submit(submit)) => Some(submit),
        _ => None,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Server {
    Ingest,
    Gateway,
}

/// A cut that is armed: the point at which a connection breaks next.
struct Cut {
    server: Server,
    is_before: bool,
    kind: Kind,
    /// The switch that the cut closes, so that the client cannot reconnect; `None` if it may.
    door: Option<Door>,
}

#[derive(Default)]
struct State {
    cut: Option<Cut>,
    held: Option<Kind>,
    is_doubling: bool,
    put_off: BTreeSet<u64>,
    after_ms: u32,
    /// The number of times that each event has happened.
    counts: BTreeMap<&'static str, u64>,
}

/// The wires of one client: a proxy to ingest and a proxy to the gateway.
pub struct Wire {
    ingest: Proxy,
    gateway: Proxy,
    state: Arc<Mutex<State>>,
}

impl Wire {
    /// Makes a wire that connects to the entrance's proxies, because those know the addresses of
    /// the servers.
    pub async fn to(entrance: &Entrance) -> Self {
        let ingest = Proxy::start(Some(entrance.ingests[0].address())).await;
        let gateway = Proxy::start(Some(entrance.gateways[0].address())).await;
        let wire = Self { ingest, gateway, state: Arc::default() };
        wire.judge();
        wire
    }

    pub fn urls(&self) -> (Vec<String>, Vec<String>) {
        let url = |proxy: &Proxy, service: &str| vec![format!("ws://{}/v1/{service}", proxy.address())];
        (url(&self.ingest, "ingest"), url(&self.gateway, "gateway"))
    }

    /// Sets the rule of both proxies again, so that messages that wait are judged again.
    fn judge(&self) {
        for (server, proxy) in [(Server::Ingest, &self.ingest), (Server::Gateway, &self.gateway)] {
            let state = Arc::clone(&self.state);
            proxy.rule(move |passing| state.lock().expect("nobody panics").judge(server, passing));
        }
    }

    fn state<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.state.lock().expect("nobody panics"))
    }

    /// Arms a cut. `at` names its point: `before submit`, `after receipt`, and so on. `bars` says
    /// whether new connections are refused afterwards.
    pub fn cut(&self, server: &str, at: &str, bars: bool) {
        let (server, proxy) = match server {
            "ingest" => (Server::Ingest, &self.ingest),
            "gateway" => (Server::Gateway, &self.gateway),
            _ => panic!("servers are ingest and gateway, and not {server}"),
        };
        let (when, kind) = at.split_once(' ').unwrap_or_else(|| panic!("cut at {at}: nobody knows where that is"));
        assert!(["before", "after"].contains(&when), "cut {when} a message: nobody knows when that is");
        let cut =
            Cut { server, is_before: when == "before", kind: Kind::named(kind), door: bars.then(|| proxy.door()) };
        self.state(|state| {
            state.cut = Some(cut);
            state.counts.remove("cut");
        });
    }

    pub fn admit(&self) {
        self.ingest.open();
        self.gateway.open();
    }

    pub fn hold(&self, kind: Kind) {
        self.state(|state| state.held = Some(kind));
    }

    pub fn release(&self) {
        self.state(|state| state.held = None);
        self.judge();
    }

    pub fn double(&self) {
        self.state(|state| state.is_doubling = true);
    }

    pub fn put_off(&self, seqs: Vec<u64>, after_ms: u32) {
        self.state(|state| {
            state.put_off.extend(seqs);
            state.after_ms = after_ms;
            state.counts.remove("put_off");
        });
    }

    pub fn go_offline(&self) {
        self.ingest.close();
        self.gateway.close();
    }

    pub fn count(&self, what: &str) -> u64 {
        self.state(|state| state.counts.get(what).copied().unwrap_or_default())
    }

    pub fn forget(&self, what: &str) {
        self.state(|state| state.counts.remove(what));
    }
}

impl State {
    fn happened(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn judge(&mut self, server: Server, passing: &Passing) -> Verdict {
        if let Some(cut) = self.cut.take_if(|cut| cut.server == server && cut.kind.is(passing)) {
            if let Some(door) = cut.door {
                door.close();
            }
            if !cut.is_before && Kind::Receipt.is(passing) {
                self.happened("receipt");
            }
            self.happened("cut");
            return if cut.is_before { Verdict::CutBefore } else { Verdict::CutAfter };
        }
        if self.held.is_some_and(|kind| kind.is(passing)) {
            return Verdict::Hold;
        }
        if Kind::Receipt.is(passing) {
            self.happened("receipt");
        }
        match passing {
            Passing::Up(frame) if server == Server::Ingest => self.change(frame),
            _ => Verdict::Pass,
        }
    }

    /// Changes a message to ingest, and makes the answer that the client gets in place of ingest's.
    fn change(&mut self, frame: &ClientFrame) -> Verdict {
        let (mut up, mut down) = (ClientFrame::default(), ServerFrame::default());
        for request in &frame.requests {
            match submit_of(request) {
                Some(submit) if self.put_off.remove(&submit.seq) => {
                    self.happened("put_off");
                    let rejected = Rejected {
                        chunk_id: submit.chunk_id.clone(),
                        seq: submit.seq,
                        code: RejectCode::RateLimited.into(),
                        retry: Retry::After.into(),
                        retry_after_ms: self.after_ms,
                        message: "later".into(),
                    };
                    down.events.push(Event { body: Some(event::Body::Rejected(rejected)) });
                }
                Some(_) if self.is_doubling => up.requests.extend([request.clone(), request.clone()]),
                _ => up.requests.push(request.clone()),
            }
        }
        match up == *frame {
            true => Verdict::Pass,
            false => Verdict::Answer { up, down },
        }
    }
}
