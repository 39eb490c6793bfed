//! The one gapless producer that all ownerships of a process share, and the routing of its
//! acknowledgements back to them.
//!
//! A gapless producer ends with its first failure: every later record fails too, and so each
//! ownership with a record in flight ends (docs/design.md#ownership). [`Publisher::renew`] then
//! makes a new producer for later ownerships. An ownership whose append failed does not use the new
//! producer, because it must never produce a record a second time.

use driftless_log::{Ack, AckSink, Append, AppendError, Delivery, Error, Log, Producer};
use driftless_schemas::Offset;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The number n of an ownership's record, with its offset if the log has acknowledged the record
/// and reported the offset, or the error.
pub(crate) type OwnAck = (u64, Result<Option<Offset>, AppendError>);

/// The number of low bits of an append's token that hold n. The bits above hold the id of the
/// ownership's route.
const N_BITS: u32 = 40;

type Routes = Arc<RwLock<HashMap<u64, UnboundedSender<Vec<OwnAck>>>>>;

/// Makes the process's producer, and routes its acknowledgements to the ownerships.
pub(crate) struct Publisher {
    log: Arc<dyn Log>,
    routes: Routes,
    state: Mutex<Current>,
}

struct Current {
    producer: Arc<dyn Producer>,
    next_route: u64,
}

/// An ownership's access to the producer. When the route is dropped, acknowledgements for the
/// ownership are discarded.
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

    /// Makes a route for a new ownership. The receiver gets the acknowledgements of its records.
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
    /// Gives records to the producer. The `token` of each record is its number n. Returns the
    /// records that do not fit into the producer's queue.
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

/// Makes the producer's acknowledgement callback. It splits acknowledgements by ownership, and
/// keeps their order within each ownership.
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
