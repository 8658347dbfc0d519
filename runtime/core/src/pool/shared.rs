//! Worker threads that the optimizers of a process share.

use super::Pool;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Pools in use, by process and number of threads: a fork does not inherit its parent's threads.
type Pools = HashMap<(u32, usize), Weak<Pool>>;

/// Those in use.
static POOLS: Mutex<Option<Pools>> = Mutex::new(None);

impl Pool {
    /// The pool with that many threads; it ends with its last user.
    pub fn shared(threads: usize) -> Arc<Pool> {
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        let pools = pools.get_or_insert_default();
        let key = (std::process::id(), threads);
        if let Some(pool) = pools.get(&key).and_then(Weak::upgrade) {
            return pool;
        }
        let pool = Arc::new(Pool::new(threads));
        pools.retain(|_, pool| pool.strong_count() > 0);
        pools.insert(key, Arc::downgrade(&pool));
        pool
    }
}
