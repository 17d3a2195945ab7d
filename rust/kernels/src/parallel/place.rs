//! Where workers wake: not on the caller's core.
//!
//! Linux may put a woken thread on the core of the one that wakes it although others are idle: in a virtual machine it takes
//! a halted core for one that the host has taken away. The two then share that core until the next balancing, 5 to 10 ms
//! later, for which time all kernels run as with one thread. So the caller takes its own core out of the sleeping workers'
//! sets before it wakes them, and they restore their sets once they run.

#[cfg(target_os = "linux")]
pub(super) use linux::Asleep;
#[cfg(not(target_os = "linux"))]
pub(super) use other::Asleep;

#[cfg(target_os = "linux")]
mod linux {
    use std::mem::MaybeUninit;

    /// With more workers than this the scheduler is left alone: two system calls for each add up.
    const MOST: usize = 8;

    #[derive(Clone, Copy)]
    struct Sleeper {
        thread: libc::pid_t,
        /// The cores that it may use, where the caller's was taken out.
        cores: Option<libc::cpu_set_t>,
    }

    /// The workers that sleep.
    pub struct Asleep([Option<Sleeper>; MOST]);

    impl Asleep {
        pub const NOBODY: Self = Self([None; MOST]);

        /// The calling worker goes to sleep.
        pub fn add(&mut self, index: usize) {
            if let Some(place) = self.0.get_mut(index) {
                // SAFETY: no arguments.
                let thread = unsafe { libc::gettid() };
                *place = Some(Sleeper { thread, cores: None });
            }
        }

        /// The calling worker is awake: it may use all its cores again.
        pub fn remove(&mut self, index: usize) {
            let sleeper = self.0.get_mut(index).and_then(Option::take);
            if let Some(cores) = sleeper.and_then(|s| s.cores) {
                // SAFETY: the set lives during the call, 0 is the calling thread.
                unsafe { libc::sched_setaffinity(0, size_of_val(&cores), &cores) };
            }
        }

        /// The sleeping workers will wake on other cores than the calling thread's, where they may use others.
        pub fn move_away(&mut self) {
            // SAFETY: no arguments.
            let here = unsafe { libc::sched_getcpu() };
            // A core's bit must lie in the set.
            let Some(here) = usize::try_from(here).ok().filter(|&c| c < libc::CPU_SETSIZE as usize) else {
                return;
            };
            for sleeper in self.0.iter_mut().flatten() {
                let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
                // SAFETY: the set lives during the calls and is long enough for `here`; zeroes are a valid one. A thread of
                // this process that sleeps under the caller's lock.
                unsafe {
                    if libc::sched_getaffinity(sleeper.thread, size_of_val(&set), set.as_mut_ptr()) != 0 {
                        continue;
                    }
                    let all = set.assume_init();
                    let mut others = all;
                    libc::CPU_CLR(here, &mut others);
                    if libc::CPU_ISSET(here, &all)
                        && libc::CPU_COUNT(&others) > 0
                        && libc::sched_setaffinity(sleeper.thread, size_of_val(&others), &others) == 0
                    {
                        // Of two callers the first saw the whole set.
                        sleeper.cores.get_or_insert(all);
                    }
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    /// Nothing to know: the system places the workers.
    pub struct Asleep;

    impl Asleep {
        pub const NOBODY: Self = Self;
        pub fn add(&mut self, _index: usize) {}
        pub fn remove(&mut self, _index: usize) {}
        pub fn move_away(&mut self) {}
    }
}
