//! A semaphore that gives its permits to users in turn, so that one user with very many requests
//! does not come before everybody else.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// A number of permits, and the users who wait for one.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Mutex<State>>);

struct State {
    free: usize,
    /// The requests that wait, oldest first, by user.
    waiting: BTreeMap<Arc<str>, VecDeque<oneshot::Sender<Permit>>>,
    /// The users with a request that waits, in the order of their turns.
    order: VecDeque<Arc<str>>,
}

/// A permit. The next user gets it when it is dropped.
pub(crate) struct Permit(Turns);

impl Turns {
    pub fn new(permits: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free: permits, waiting: BTreeMap::new(), order: VecDeque::new() })))
    }

    /// Waits for a permit. Requests of one user get theirs in the order of the calls. A request
    /// that is dropped gives its permit on.
    pub async fn permit(&self, user: &Arc<str>) -> Permit {
        loop {
            let granted = {
                let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                if state.free > 0 {
                    state.free -= 1;
                    return Permit(self.clone());
                }
                let (to, granted) = oneshot::channel();
                let queue = state.waiting.entry(Arc::clone(user)).or_default();
                queue.push_back(to);
                if queue.len() == 1 {
                    state.order.push_back(Arc::clone(user));
                }
                granted
            };
            // The sender is never dropped while it waits.
            if let Ok(permit) = granted.await {
                return permit;
            }
        }
    }
}

impl State {
    /// The request whose turn it is. Requests that were dropped have none.
    fn next(&mut self) -> Option<oneshot::Sender<Permit>> {
        loop {
            let user = self.order.pop_front()?;
            let queue = self.waiting.get_mut(&user)?;
            let next = std::iter::from_fn(|| queue.pop_front()).find(|request| !request.is_closed());
            if queue.is_empty() {
                self.waiting.remove(&user);
            } else {
                self.order.push_back(user);
            }
            if next.is_some() {
                return next;
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        loop {
            let next = {
                let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
                let next = state.next();
                state.free += usize::from(next.is_none());
                next
            };
            let Some(next) = next else { return };
            match next.send(Self(self.0.clone())) {
                Ok(()) => return,
                // The request was dropped; the permit is for the one after it.
                Err(unwanted) => std::mem::forget(unwanted),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn users_get_permits_in_turn_and_dropped_requests_get_none() {
        let turns = Turns::new(1);
        let held = turns.permit(&"ann".into()).await;
        let served = Arc::new(Mutex::new(Vec::new()));
        let request = |(user, name): (&'static str, &'static str)| {
            let (turns, served) = (turns.clone(), Arc::clone(&served));
            tokio::spawn(async move {
                let _permit = turns.permit(&user.into()).await;
                served.lock().unwrap().push(name);
            })
        };
        // This runtime has one thread, so the requests wait in this order.
        let requests = [("ann", "ann 1"), ("ann", "ann 2"), ("ann", "ann 3"), ("bob", "bob 1"), ("bob", "bob 2")];
        let requests: Vec<_> = requests.into_iter().map(request).collect();
        tokio::task::yield_now().await;
        requests[1].abort();
        tokio::task::yield_now().await;
        assert!(served.lock().unwrap().is_empty(), "the only permit is taken");
        drop(held);
        for request in requests {
            // The aborted one is an error.
            let _ = request.await;
        }
        assert_eq!(*served.lock().unwrap(), ["ann 1", "bob 1", "ann 3", "bob 2"]);
        let _again = turns.permit(&"bob".into()).await;
    }
}
