//! The runtime openraft runs on here: tasks of nodes, polled by the world on its one thread, in its time.
//!
//! Every task belongs to a node. It is polled when it was woken and its node's process runs, and is dropped when that
//! process dies. Of several tasks that are ready the dice of the node choose, as the threads of a real runtime would: in
//! any order, yet in the same one for the same seed. Time is the node's own count of it, which drifts; a wait ends by an
//! event of the world, so a process that is stopped wakes late and does not know.
//!
//! What waits on what is tokio's channels, as in the product: they need no runtime.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use openraft_rt::{AsyncRuntime, OptionalSend};
use openraft_rt_tokio::TokioRuntime;
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::events::Micros;
use crate::rng::Rng;

/// A process has counted this long when a run begins, so that no moment before it is below zero.
const UPTIME: Duration = Duration::from_secs(86_400);
/// Waits shorter than this are not those of ticks.
const SHORT: Duration = Duration::from_micros(10);

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

thread_local! {
    static HERE: RefCell<Processes> = RefCell::default();
}

/// The processes of all nodes.
#[derive(Default)]
struct Processes {
    now: Micros,
    /// Whose task runs.
    current: usize,
    all: Vec<Process>,
    alarms: Vec<Alarm>,
}

/// One process.
struct Process {
    clock: Clock,
    rng: Rng,
    /// Two to a heartbeat, the first one this long after the beginning.
    beat: Option<(Duration, Duration)>,
    life: u32,
    /// Nothing of it is polled.
    stopped: bool,
    tasks: BTreeMap<u64, (Arc<Wakeup>, Option<Task>)>,
    tasks_made: u64,
    /// In an order of its own: whom a watch channel wakes first is chance.
    ready: BTreeSet<u64>,
    timers: BTreeMap<u64, Waker>,
    timers_made: u64,
}

/// A wait that the world has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Whose.
    pub node: usize,
    /// When, in the world's time.
    pub at: Micros,
    /// Number of the timer, for [`ring`].
    pub timer: u64,
}

/// Makes a task ready.
struct Wakeup {
    node: usize,
    life: u32,
    task: u64,
    queued: AtomicBool,
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::Relaxed) {
            return;
        }
        // When the thread ends the tasks that are left are dropped, and wake each other for nothing.
        let _ = HERE.try_with(|here| {
            let mut here = here.borrow_mut();
            let process = here.all.get_mut(self.node).filter(|process| process.life == self.life);
            if let Some(process) = process {
                process.ready.insert(self.task);
            }
        });
    }
}

fn with<T>(f: impl FnOnce(&mut Processes) -> T) -> T {
    HERE.with(|here| f(&mut here.borrow_mut()))
}

fn current<T>(f: impl FnOnce(&mut Process) -> T) -> T {
    with(|here| {
        let current = here.current;
        f(here.all.get_mut(current).expect("a task runs in a process"))
    })
}

/// Begins anew with processes that count time by these clocks and throw these dice.
pub fn begin(processes: impl IntoIterator<Item = (Clock, Rng)>) {
    clear();
    with(|here| {
        here.now = 0;
        here.all = processes.into_iter().map(|(clock, rng)| Process::new(clock, rng)).collect();
    });
}

/// Ends every process.
pub fn clear() {
    // Dropped when nothing is borrowed: tasks wake others as they go.
    let gone = with(|here| (std::mem::take(&mut here.all), std::mem::take(&mut here.alarms)));
    drop(gone);
}

/// Ends a process: its tasks are dropped wherever they are, and whoever waited for it waits for nothing.
pub fn kill(node: usize) {
    let gone = with(|here| {
        here.current = node;
        let process = &mut here.all[node];
        process.life += 1;
        process.ready.clear();
        (std::mem::take(&mut process.tasks), std::mem::take(&mut process.timers))
    });
    drop(gone);
}

/// Ticks of this node fall on beats, as in the product.
pub fn set_beat(node: usize, beat: Duration, phase: Duration) {
    with(|here| here.all[node].beat = Some((beat, phase)));
}

/// Stops a process, or lets it go on.
pub fn stop(node: usize, stopped: bool) {
    with(|here| here.all[node].stopped = stopped);
}

/// Moves time.
pub fn advance(now: Micros) {
    with(|here| here.now = here.now.max(now));
}

/// Runs `f` as a part of a node's process: what it spawns is that node's.
pub fn within<T>(node: usize, f: impl FnOnce() -> T) -> T {
    with(|here| here.current = node);
    f()
}

/// Polls one task that is ready, of the first node that has one; says which.
pub fn poll_one() -> Option<(usize, u64)> {
    let (node, number, wakeup, mut task) = with(|here| {
        loop {
            let node = here.all.iter().position(|process| !process.stopped && !process.ready.is_empty())?;
            here.current = node;
            let process = &mut here.all[node];
            let place = process.rng.below(process.ready.len() as u64) as usize;
            let number = process.ready.iter().nth(place).copied()?;
            process.ready.remove(&number);
            // One that is over may be woken by whoever still has its waker.
            if let Some((wakeup, task)) = process.tasks.get_mut(&number)
                && let Some(task) = task.take()
            {
                return Some((node, number, wakeup.clone(), task));
            }
        }
    })?;
    wakeup.queued.store(false, Ordering::Relaxed);
    let waker = Waker::from(wakeup);
    let over = task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
    let gone = with(|here| {
        let tasks = &mut here.all[node].tasks;
        if over {
            return tasks.remove(&number).map(|_| task);
        }
        if let Some((_, slot)) = tasks.get_mut(&number) {
            *slot = Some(task);
        }
        None
    });
    drop(gone);
    Some((node, number))
}

/// The waits that began since this was asked last.
pub fn alarms() -> Vec<Alarm> {
    with(|here| std::mem::take(&mut here.alarms))
}

/// A wait is over.
pub fn ring(node: usize, timer: u64) {
    let waker = with(|here| here.all[node].timers.remove(&timer));
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// How long ago a moment of this node is.
pub fn since(node: usize, moment: Instant) -> Duration {
    with(|here| {
        let now = here.now;
        here.all[node].now(now).0.saturating_sub(moment.0)
    })
}

impl Process {
    fn new(clock: Clock, rng: Rng) -> Self {
        Process {
            clock,
            rng,
            beat: None,
            life: 0,
            stopped: false,
            tasks: BTreeMap::new(),
            tasks_made: 0,
            ready: BTreeSet::new(),
            timers: BTreeMap::new(),
            timers_made: 0,
        }
    }

    fn now(&self, now: Micros) -> Instant {
        Instant(UPTIME + self.clock.mono_duration(now))
    }
}

/// A moment by a node's own count of time; of no use to other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl openraft_rt::Instant for Instant {
    fn now() -> Self {
        with(|here| here.all[here.current].now(here.now))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, more: Duration) -> Self {
        Instant(self.0.saturating_add(more))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, more: Duration) {
        *self = *self + more;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, less: Duration) -> Self {
        Instant(self.0 - less)
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, less: Duration) {
        *self = *self - less;
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Waits for a moment.
#[derive(Debug)]
pub struct Sleep {
    until: Instant,
    timer: Option<u64>,
}

impl Sleep {
    fn until(until: Instant) -> Self {
        Sleep { until, timer: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let (until, known) = (self.until, self.timer);
        let waits = with(|here| {
            let (node, world) = (here.current, here.now);
            let process = &mut here.all[node];
            let left = until - process.now(world);
            if left.is_zero() {
                return None;
            }
            let timer = known.filter(|timer| process.timers.contains_key(timer)).unwrap_or_else(|| {
                process.timers_made += 1;
                // Rounded up: a clock that runs fast or slow is looked at again when it rings.
                let length = process.clock.lasts(left.as_micros() as Micros) + 1;
                here.alarms.push(Alarm { node, at: world + length, timer: process.timers_made });
                process.timers_made
            });
            Some((timer, process.timers.insert(timer, context.waker().clone())))
        });
        let Some((timer, replaced)) = waits else { return Poll::Ready(()) };
        drop(replaced);
        self.timer = Some(timer);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let Some(timer) = self.timer else { return };
        // A timer of a process that has died means nothing to the one after it: numbers are never used twice.
        let gone = HERE.try_with(|here| {
            let mut here = here.borrow_mut();
            let current = here.current;
            here.all.get_mut(current).and_then(|process| process.timers.remove(&timer))
        });
        drop(gone);
    }
}

/// A future and the end of the patience with it.
pub struct Timeout<F> {
    future: Pin<Box<F>>,
    sleep: Sleep,
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = self.future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        pin!(&mut self.sleep).poll(context).map(|()| Err(Elapsed))
    }
}

/// It took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline has passed")
    }
}

/// The end of a task.
#[derive(Debug)]
pub struct Joining<T>(oneshot::Receiver<T>);

impl<T> Future for Joining<T> {
    type Output = Result<T, Gone>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_err(|_| Gone)
    }
}

/// A task was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task was dropped")
    }
}

/// The dice of the node whose task runs.
#[derive(Clone, Copy, Debug)]
pub struct Dice;

impl rand::TryRng for Dice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.try_next_u64()? >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(current(|process| process.rng.draw()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let drawn = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
        Ok(())
    }
}

/// See the module.
#[derive(Debug)]
pub struct Runtime;

impl AsyncRuntime for Runtime {
    type JoinError = Gone;
    type JoinHandle<T: OptionalSend + 'static> = Joining<T>;
    type Sleep = Sleep;
    type Instant = Instant;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T>;
    type ThreadLocalRng = Dice;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Joining<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        let (tell, told) = oneshot::channel();
        let task: Task = Box::pin(async move {
            // Nobody needs to wait for it.
            let _ = tell.send(future.await);
        });
        with(|here| {
            let node = here.current;
            let process = &mut here.all[node];
            process.tasks_made += 1;
            let number = process.tasks_made;
            let wakeup = Arc::new(Wakeup { node, life: process.life, task: number, queued: AtomicBool::new(true) });
            process.tasks.insert(number, (wakeup, Some(task)));
            process.ready.insert(number);
        });
        Joining(told)
    }

    fn sleep(duration: Duration) -> Sleep {
        Sleep::until(<Instant as openraft_rt::Instant>::now() + duration)
    }

    fn sleep_until(deadline: Instant) -> Sleep {
        let on_beat = current(|process| process.beat).filter(|_| deadline > Self::sleep(SHORT).until);
        Sleep::until(match on_beat {
            Some((beat, phase)) => deadline + to_beat(deadline.0, beat, phase),
            None => deadline,
        })
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Timeout<F> {
        Timeout { future: Box::pin(future), sleep: Self::sleep(duration) }
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Instant, future: F) -> Timeout<F> {
        Timeout { future: Box::pin(future), sleep: Sleep::until(deadline) }
    }

    /// Never: a task that panics is a finding, and ends the run.
    fn is_panic(_: &Gone) -> bool {
        false
    }

    fn thread_rng() -> Dice {
        Dice
    }

    /// One process that nothing happens to, for openraft's own tests of runtimes.
    fn new(_threads: usize) -> Self {
        begin([(Clock::default(), Rng::new(1))]);
        Runtime
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        let main = Arc::new(Wakeup { node: 0, life: 0, task: 0, queued: AtomicBool::new(true) });
        let waker = Waker::from(main.clone());
        let mut future = pin!(future);
        let mut waits: BTreeMap<(Micros, u64), usize> = BTreeMap::new();
        loop {
            within(0, || ());
            if main.queued.swap(false, Ordering::Relaxed) {
                if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return output;
                }
            } else if poll_one().is_none() {
                let next = waits.pop_first();
                let ((at, timer), node) = next.expect("somebody waits for something");
                advance(at);
                ring(node, timer);
            }
            waits.extend(alarms().into_iter().map(|alarm| ((alarm.at, alarm.timer), alarm.node)));
        }
    }

    async fn spawn_blocking<F, T>(f: F) -> Result<T, std::io::Error>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        Ok(f())
    }
}

/// From a moment to the beat at or after it.
fn to_beat(moment: Duration, beat: Duration, phase: Duration) -> Duration {
    let past = (moment + beat - phase).as_nanos() % beat.as_nanos();
    let left = (beat.as_nanos() - past) % beat.as_nanos();
    Duration::from_nanos(left as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_passes_the_suite_of_openraft() {
        openraft_rt::testing::Suite::<Runtime>::test_all();
    }

    /// Red when a process that is dead goes on, or its wakers reach the one after it.
    #[test]
    fn the_tasks_of_a_dead_process_are_gone() {
        begin([(Clock::default(), Rng::new(1)), (Clock::default(), Rng::new(2))]);
        let (tell, told) = oneshot::channel::<()>();
        let (done, mut is_done) = oneshot::channel::<()>();
        within(0, || {
            Runtime::spawn(async move {
                let _ = told.await;
                let _ = done.send(());
            })
        });
        assert_eq!(poll_one(), Some((0, 1)));
        kill(0);
        assert_eq!(is_done.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        let _ = tell.send(());
        assert_eq!(poll_one(), None);
        within(0, || Runtime::spawn(async {}));
        assert_eq!(poll_one(), Some((0, 2)), "numbers are not used again");
    }

    /// Red when ready tasks are polled in one order only, or in another one the second time.
    #[test]
    fn the_order_of_ready_tasks_is_the_dice_s() {
        let order = |seed| {
            begin([(Clock::default(), Rng::new(seed))]);
            for _ in 0..8 {
                within(0, || Runtime::spawn(async {}));
            }
            std::iter::from_fn(poll_one).map(|(_, task)| task).collect::<Vec<_>>()
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }

    /// Red when `sleep_until` does not round up to a beat, or a drifting clock ends a wait early.
    #[test]
    fn a_wait_ends_at_a_beat_by_the_node_s_own_clock() {
        begin([(Clock { offset: 0, drift_ppm: -20_000 }, Rng::new(1))]);
        set_beat(0, Duration::from_millis(50), Duration::from_millis(20));
        let now = within(0, <Instant as openraft_rt::Instant>::now);
        within(0, || {
            Runtime::spawn(async move {
                Runtime::sleep_until(now + Duration::from_millis(101)).await;
            })
        });
        assert_eq!(poll_one(), Some((0, 1)));
        let [alarm] = alarms()[..] else { unreachable!("one wait") };
        // The beat at 120 ms, by a clock that counts 2 % too little.
        assert_eq!(alarm.at, 122_401);
        advance(alarm.at);
        ring(0, alarm.timer);
        assert_eq!(poll_one(), Some((0, 1)));
        let [again] = alarms()[..] else { unreachable!("the clock is slower still") };
        advance(again.at);
        ring(0, again.timer);
        assert_eq!((poll_one(), alarms(), poll_one()), (Some((0, 1)), vec![], None));
    }
}
