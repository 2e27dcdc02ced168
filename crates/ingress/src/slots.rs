//! Places for connections: so many in all, and so many for one address.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
};

use wire::limit::{CONNECTIONS, CONNECTIONS_PER_ADDRESS, Limit};

/// The places of a listener.
pub(crate) struct Slots {
    max: u32,
    /// 0: as many as there are.
    per_address_max: u32,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: u32,
    by_address: HashMap<IpAddr, u32>,
}

/// A place, free again when it is dropped.
pub(crate) struct Slot {
    slots: Arc<Slots>,
    /// Whose it is, if that counts.
    address: Option<IpAddr>,
}

impl Slots {
    pub fn new(max: NonZeroU32, per_address_max: u32) -> Arc<Self> {
        Arc::new(Self { max: max.get(), per_address_max, taken: Mutex::default() })
    }

    /// Takes a place for a client at `address`; without one, for somebody who may have all of them.
    ///
    /// # Errors
    /// The limit that was reached.
    pub fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Slot, &'static Limit> {
        let address = address.filter(|_| self.per_address_max > 0);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.max {
            return Err(&CONNECTIONS);
        }
        if let Some(address) = address {
            let own = taken.by_address.entry(address).or_default();
            if *own >= self.per_address_max {
                return Err(&CONNECTIONS_PER_ADDRESS);
            }
            *own += 1;
        }
        taken.all += 1;
        Ok(Slot { slots: self.clone(), address })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some(address) = self.address
            && let Some(own) = taken.by_address.get_mut(&address)
        {
            *own -= 1;
            if *own == 0 {
                taken.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(taken: Result<Slot, &'static Limit>) -> Option<&'static str> {
        taken.err().map(|limit| limit.name)
    }

    #[test]
    fn one_too_many_is_refused_until_one_leaves() {
        let slots = Slots::new(NonZeroU32::new(3).unwrap(), 2);
        let [ana, bob] = [1, 2].map(|host| Some(IpAddr::from([192, 0, 2, host])));
        let first = slots.take(ana).ok().unwrap();
        let _second = slots.take(ana).ok().unwrap();
        assert_eq!(refused(slots.take(ana)), Some("connections_per_address"));
        let third = slots.take(bob).ok().unwrap();
        assert_eq!(refused(slots.take(bob)), Some("connections"));
        drop(third);
        assert_eq!(
            refused(slots.take(ana)),
            Some("connections_per_address"),
            "one of bob's is not one of hers"
        );
        drop(first);
        let _again = slots.take(ana).ok().unwrap();
        assert_eq!(slots.taken.lock().unwrap().by_address.len(), 1, "who has left is forgotten");
    }

    #[test]
    fn some_may_have_all_and_with_zero_everybody_may() {
        let slots = Slots::new(NonZeroU32::new(3).unwrap(), 1);
        let held: Vec<_> = (0..3).map(|_| slots.take(None).ok().unwrap()).collect();
        assert_eq!(refused(slots.take(None)), Some("connections"));
        drop(held);
        let open = Slots::new(NonZeroU32::new(3).unwrap(), 0);
        let ana = Some(IpAddr::from([192, 0, 2, 1]));
        let _held: Vec<_> = (0..3).map(|_| open.take(ana).ok().unwrap()).collect();
        assert_eq!(refused(open.take(ana)), Some("connections"));
    }
}
