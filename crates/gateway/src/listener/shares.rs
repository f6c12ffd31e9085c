//! How many connections one address or one certificate has.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

/// Counts by key. What nobody has is not remembered.
#[derive(Debug)]
pub(super) struct Shares<K>(Arc<Mutex<HashMap<K, usize>>>);

impl<K> Clone for Shares<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Share<K: Hash + Eq> {
    of: Shares<K>,
    key: K,
}

impl<K: Hash + Eq + Clone> Shares<K> {
    /// One more for this key, unless it has as many as it may.
    pub(super) fn take(&self, key: K, most: usize) -> Option<Share<K>> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key.clone()).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Share { of: self.clone(), key })
    }
}

impl<K: Hash + Eq> Drop for Share<K> {
    fn drop(&mut self) {
        let mut counts = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_share_and_nothing_is_left_of_it() {
        let shares = Shares::default();
        let held: Vec<_> = (0..5).filter_map(|_| shares.take("one", 2)).collect();
        assert_eq!(held.len(), 2);
        assert!(shares.take("other", 2).is_some());
        drop(held);
        assert!(shares.take("one", 2).is_some());
        assert!(shares.0.lock().unwrap().is_empty());
    }
}
