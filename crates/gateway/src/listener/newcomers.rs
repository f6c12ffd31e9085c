//! Connections that have shown no certificate yet. Anybody can open one, so they have places of their own, and lose them to whoever
//! comes later: the oldest of the address that has most goes first. Whoever finishes the handshake leaves them.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// How many there may be.
#[derive(Debug, Clone)]
pub(super) struct Newcomers {
    most: usize,
    most_of_address: usize,
    there: Arc<Mutex<There>>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Newcomer {
    there: Arc<Mutex<There>>,
    address: IpAddr,
    number: u64,
    told: oneshot::Receiver<()>,
}

/// By address, the oldest first. What is taken out is told by losing its sender.
#[derive(Debug, Default)]
struct There {
    next: u64,
    count: usize,
    of: HashMap<IpAddr, BTreeMap<u64, oneshot::Sender<()>>>,
}

impl Newcomers {
    /// At most so many, and so many of one address.
    pub(super) fn new(most: usize, most_of_address: usize) -> Self {
        Self { most, most_of_address, there: Arc::default() }
    }

    /// One more from this address. Whether another was pushed out for it.
    pub(super) fn join(&self, address: IpAddr) -> (Newcomer, bool) {
        let (tell, told) = oneshot::channel();
        let mut there = lock(&self.there);
        let out = if there.of.get(&address).is_some_and(|own| own.len() >= self.most_of_address) {
            Some(address)
        } else if there.count >= self.most {
            there.fullest()
        } else {
            None
        };
        let oldest = out.and_then(|address| Some((address, *there.of.get(&address)?.first_key_value()?.0)));
        if let Some((address, number)) = oldest {
            there.leave(address, number);
        }
        let number = there.next;
        there.next += 1;
        there.count += 1;
        there.of.entry(address).or_default().insert(number, tell);
        (Newcomer { there: self.there.clone(), address, number, told }, oldest.is_some())
    }
}

impl Newcomer {
    /// When it has to go.
    pub(super) async fn pushed_out(&mut self) {
        let _ = (&mut self.told).await; // nothing is ever sent: its sender is gone
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        lock(&self.there).leave(self.address, self.number);
    }
}

impl There {
    /// The address that has most; of several the one whose oldest is the oldest.
    fn fullest(&self) -> Option<IpAddr> {
        let oldest = |own: &BTreeMap<u64, _>| own.first_key_value().map(|(number, _)| *number);
        let most = self.of.iter().max_by_key(|(_, own)| (own.len(), Reverse(oldest(own))));
        most.map(|(address, _)| *address)
    }

    fn leave(&mut self, address: IpAddr, number: u64) {
        let Some(own) = self.of.get_mut(&address) else { return };
        if own.remove(&number).is_some() {
            self.count -= 1;
        }
        if own.is_empty() {
            self.of.remove(&address);
        }
    }
}

fn lock(there: &Mutex<There>) -> MutexGuard<'_, There> {
    there.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn is_out(newcomer: &mut Newcomer) -> bool {
        newcomer.told.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn the_oldest_of_the_address_that_has_most_goes_and_nothing_is_left_of_those_that_left() {
        let newcomers = Newcomers::new(4, 3);
        let join = |last| newcomers.join(address(last));
        let mut lone = join(1).0;
        let mut flood: Vec<_> = (0..3).map(|_| join(2).0).collect();
        let (more, pushed) = join(2);
        assert!(pushed && is_out(&mut flood[0]), "an address has its own bound");
        let (other, pushed) = join(3);
        assert!(pushed && is_out(&mut flood[1]) && !is_out(&mut flood[2]), "there is a bound for all");
        assert!(!is_out(&mut lone), "nobody who has one goes for those who have many");
        assert_eq!(lock(&newcomers.there).count, 4);
        drop((lone, flood, more, other));
        let there = lock(&newcomers.there);
        assert_eq!((there.count, there.of.len()), (0, 0));
    }

    #[test]
    fn of_addresses_with_one_each_the_oldest_goes() {
        let newcomers = Newcomers::new(2, 2);
        let (mut first, mut second) = (newcomers.join(address(1)).0, newcomers.join(address(2)).0);
        let (_third, pushed) = newcomers.join(address(3));
        assert!(pushed && is_out(&mut first) && !is_out(&mut second));
    }
}
