//! The one gapless producer of a process, and the way of its acknowledgements back to the
//! ownerships.
//!
//! A gapless producer ends with its first failure: every later record fails too, and so each
//! ownership with a record in flight ends (docs/design.md#ownership). [`Publisher::renew`] then
//! makes a new producer for later ownerships; an ownership never produces a record a second time,
//! but ends instead.

use driftless_log::{Ack, AckSink, Append, AppendError, Delivery, Error, Log, Producer};
use driftless_schemas::Offset;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The number n of an ownership's record, and whether the log has acknowledged it.
pub(crate) type OwnAck = (u64, Result<Option<Offset>, AppendError>);

/// The token of an append has the ownership's number in its upper bits, and n in the lower ones.
const N_BITS: u32 = 40;

type Routes = Arc<RwLock<HashMap<u64, UnboundedSender<Vec<OwnAck>>>>>;

/// Makes producers and routes acknowledgements.
pub(crate) struct Publisher {
    log: Arc<dyn Log>,
    routes: Routes,
    state: Mutex<Current>,
}

struct Current {
    producer: Arc<dyn Producer>,
    next_route: u64,
}

/// An ownership's access to the producer. Dropping it ends the routing.
pub(crate) struct Route {
    id: u64,
    producer: Arc<dyn Producer>,
    routes: Routes,
}

impl Publisher {
    pub fn start(log: Arc<dyn Log>) -> Result<Self, Error> {
        let routes = Routes::default();
        let producer = log.producer(Delivery::Gapless, sink(&routes))?;
        Ok(Self { log, routes, state: Mutex::new(Current { producer, next_route: 1 }) })
    }

    /// A route for a new ownership.
    pub fn route(&self) -> (Route, UnboundedReceiver<Vec<OwnAck>>) {
        let (to, acks) = unbounded_channel();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let id = state.next_route;
        state.next_route += 1;
        self.routes.write().unwrap_or_else(PoisonError::into_inner).insert(id, to);
        (Route { id, producer: Arc::clone(&state.producer), routes: Arc::clone(&self.routes) }, acks)
    }

    /// Replaces the producer that `route` used, unless another ownership has replaced it already.
    /// The records that the old producer has in flight are abandoned.
    pub fn renew(&self, failed: &Route) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&state.producer, &failed.producer) {
            state.producer.abandon();
            state.producer = self.log.producer(Delivery::Gapless, sink(&self.routes))?;
        }
        Ok(())
    }
}

impl Route {
    /// Hands over records; `token` of each is its n. Gives back the records that do not fit into
    /// the producer's queue.
    pub fn append(&self, mut records: Vec<Append>) -> Vec<Append> {
        for record in &mut records {
            record.token |= self.id << N_BITS;
        }
        let mut rest = self.producer.append(records);
        for record in &mut rest {
            record.token &= (1 << N_BITS) - 1;
        }
        rest
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        self.routes.write().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// Splits acknowledgements by ownership, keeping the order within each.
fn sink(routes: &Routes) -> AckSink {
    let routes = Arc::clone(routes);
    Arc::new(move |acks: Vec<Ack>| {
        let mut gathered: Vec<(u64, Vec<OwnAck>)> = Vec::new();
        for Ack { token, result } in acks {
            let (route, n) = (token >> N_BITS, token & ((1 << N_BITS) - 1));
            match gathered.iter_mut().find(|(id, _)| *id == route) {
                Some((_, own)) => own.push((n, result)),
                None => gathered.push((route, vec![(n, result)])),
            }
        }
        let routes = routes.read().unwrap_or_else(PoisonError::into_inner);
        for (route, own) in gathered {
            if let Some(to) = routes.get(&route) {
                // An ownership that has ended needs no acknowledgement.
                let _ = to.send(own);
            }
        }
    })
}
