//! Seats of priority levels: how many requests of each are served at once, and who waits for one.
//!
//! Invariant: a level never has fewer seats than its own share less what it lends; what it does not use others may
//! borrow. Requests that wait are served flow by flow in turn, so that a flow with many gives way to one with few.
//! Upstream has hashed queues instead of one for each waiting flow.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// What a level allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Its own seats.
    pub seats: u32,
    /// How many of them others may use while they are free.
    pub lendable: u32,
    /// How many it may use of others'; any number if `None`.
    pub borrowing: Option<u32>,
    /// How many requests may wait; none where they are refused at once.
    pub queue: Option<Queue>,
}

/// How many requests may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Of one flow.
    pub of_flow: usize,
    /// Of all flows.
    pub of_all: usize,
}

/// Why a request is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No seat is free and nothing may wait.
    NoSeat,
    /// Too many wait already.
    QueueFull,
    /// It waited too long.
    TimedOut,
}

impl Refusal {
    /// The reason as upstream's metric has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSeat => "concurrency-limit",
            Self::QueueFull => "queue-full",
            Self::TimedOut => "time-out",
        }
    }
}

/// The seats of all levels.
#[derive(Default)]
pub struct Seats {
    levels: Mutex<Vec<Level>>,
}

#[derive(Default)]
struct Level {
    name: String,
    /// There is no such level any more; whoever is inside goes on.
    removed: bool,
    limits: Limits,
    taken: u32,
    waiting: usize,
    flows: HashMap<u64, VecDeque<Waiter>>,
    /// Flows with waiting requests, in the order of their turns.
    turns: VecDeque<u64>,
    tickets: u64,
}

struct Waiter {
    ticket: u64,
    seats: u32,
    answer: oneshot::Sender<Result<(), Refusal>>,
}

/// A taken seat (or several); given back when dropped.
pub struct Seat {
    seats: Arc<Seats>,
    level: usize,
    count: u32,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.give_back(self.level, self.count);
    }
}

impl Seats {
    /// Makes the levels these. Returns where each is found.
    pub fn set(&self, wanted: Vec<(String, Limits)>) -> Vec<usize> {
        let mut levels = self.levels.lock();
        for level in levels.iter_mut().filter(|l| !wanted.iter().any(|(name, _)| *name == l.name)) {
            // Whoever is inside goes on; nobody is added.
            level.removed = true;
            level.limits = Limits::default();
        }
        let places = wanted
            .into_iter()
            .map(|(name, limits)| {
                let place = levels.iter().position(|l| l.name == name);
                let place = place.or_else(|| levels.iter().position(Level::is_empty_place));
                let place = place.unwrap_or_else(|| {
                    levels.push(Level::default());
                    levels.len() - 1
                });
                levels[place].name = name;
                levels[place].removed = false;
                levels[place].limits = limits;
                place
            })
            .collect();
        serve_waiting(&mut levels);
        places
    }

    /// Takes seats of a level for a request of a flow, waiting for at most `patience`.
    ///
    /// # Errors
    /// When the request cannot be served now.
    pub async fn take(
        self: &Arc<Self>,
        level: usize,
        flow: u64,
        count: u32,
        patience: Duration,
    ) -> Result<Seat, Refusal> {
        let mut waiting = {
            let mut levels = self.levels.lock();
            if levels[level].waiting == 0 && may_take(&levels, level, count) {
                levels[level].taken += count;
                return Ok(Seat { seats: self.clone(), level, count });
            }
            let (ticket, answer) = levels[level].line_up(flow, count)?;
            Waiting { seats: self, level, flow, ticket, count, answer, over: false }
        };
        let Ok(Ok(outcome)) = tokio::time::timeout(patience, &mut waiting.answer).await else {
            return Err(Refusal::TimedOut);
        };
        waiting.over = true;
        outcome.map(|()| Seat { seats: self.clone(), level, count })
    }

    fn give_back(&self, level: usize, count: u32) {
        let mut levels = self.levels.lock();
        levels[level].taken -= count;
        if levels.iter().any(|l| l.waiting > 0) {
            serve_waiting(&mut levels);
        }
    }

    /// Name, taken seats and waiting requests of each level, as long as it is there or somebody is inside.
    pub fn usage(&self) -> Vec<(String, u32, usize)> {
        let levels = self.levels.lock();
        levels.iter().filter(|l| !l.is_empty_place()).map(|l| (l.name.clone(), l.taken, l.waiting)).collect()
    }
}

/// A request that waits. Dropped before it was answered, it leaves the queue.
struct Waiting<'a> {
    seats: &'a Arc<Seats>,
    level: usize,
    flow: u64,
    ticket: u64,
    count: u32,
    answer: oneshot::Receiver<Result<(), Refusal>>,
    over: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let mut levels = self.seats.levels.lock();
        if levels[self.level].leave(self.flow, self.ticket) {
            // Those behind it may want fewer seats.
            serve_waiting(&mut levels);
        } else if self.answer.try_recv() == Ok(Ok(())) {
            // It was given its seat in this very moment, and nobody takes it now.
            drop(levels);
            self.seats.give_back(self.level, self.count);
        }
    }
}

impl Level {
    /// Whether another level may have this place.
    fn is_empty_place(&self) -> bool {
        self.removed && self.taken == 0 && self.waiting == 0
    }

    fn line_up(
        &mut self,
        flow: u64,
        seats: u32,
    ) -> Result<(u64, oneshot::Receiver<Result<(), Refusal>>), Refusal> {
        let queue = self.limits.queue.ok_or(Refusal::NoSeat)?;
        let own = self.flows.get(&flow).map_or(0, VecDeque::len);
        if own >= queue.of_flow {
            return Err(Refusal::QueueFull);
        }
        if self.waiting >= queue.of_all {
            // The longest line gives way, if this one is shorter.
            let longest =
                self.flows.iter().max_by_key(|(_, line)| line.len()).map(|(f, line)| (*f, line.len()));
            match longest {
                Some((longest, length)) if length > own + 1 => self.refuse_last(longest),
                _ => return Err(Refusal::QueueFull),
            }
        }
        self.tickets += 1;
        let (answer, receiver) = oneshot::channel();
        let line = self.flows.entry(flow).or_default();
        if line.is_empty() {
            self.turns.push_back(flow);
        }
        line.push_back(Waiter { ticket: self.tickets, seats, answer });
        self.waiting += 1;
        Ok((self.tickets, receiver))
    }

    fn refuse_last(&mut self, flow: u64) {
        if let Some(last) = self.flows.get_mut(&flow).and_then(VecDeque::pop_back) {
            self.waiting -= 1;
            // Whoever went away meanwhile needs no answer.
            let _ = last.answer.send(Err(Refusal::QueueFull));
        }
    }

    /// Takes a request out of its line; false when it is not there any more.
    fn leave(&mut self, flow: u64, ticket: u64) -> bool {
        let Some(line) = self.flows.get_mut(&flow) else { return false };
        let Some(place) = line.iter().position(|w| w.ticket == ticket) else { return false };
        line.remove(place);
        self.waiting -= 1;
        if line.is_empty() {
            self.flows.remove(&flow);
            self.turns.retain(|f| *f != flow);
        }
        true
    }

    /// How many seats the next request wants.
    fn next_wants(&self) -> Option<u32> {
        self.turns.front().and_then(|flow| self.flows.get(flow)?.front()).map(|w| w.seats)
    }

    /// Serves the next request; its flow's next turn comes after those of all others.
    fn serve_next(&mut self) {
        let Some(flow) = self.turns.pop_front() else { return };
        let Some(line) = self.flows.get_mut(&flow) else { return };
        if let Some(next) = line.pop_front() {
            self.waiting -= 1;
            if next.answer.send(Ok(())).is_ok() {
                self.taken += next.seats;
            }
        }
        if line.is_empty() {
            self.flows.remove(&flow);
        } else {
            self.turns.push_back(flow);
        }
    }
}

fn may_take(levels: &[Level], level: usize, count: u32) -> bool {
    let own = &levels[level];
    // A request that wants more than there are is served alone. A level without a share has nothing but what it
    // borrows: it may hold requests back for ever, and upstream means it to. One that was removed lets out who waits.
    let alone = own.taken == 0 && (own.limits.seats > 0 || own.removed);
    if alone || own.taken + count <= own.limits.seats {
        return true;
    }
    let over = own.taken + count - own.limits.seats;
    if own.limits.borrowing.is_some_and(|most| over > most) {
        return false;
    }
    let (mut free, mut borrowed) = (0, 0);
    for (_, other) in levels.iter().enumerate().filter(|(i, _)| *i != level) {
        free += other.limits.lendable.min(other.limits.seats.saturating_sub(other.taken));
        borrowed += other.taken.saturating_sub(other.limits.seats);
    }
    free >= borrowed + over
}

fn serve_waiting(levels: &mut [Level]) {
    for level in 0..levels.len() {
        while let Some(count) = levels[level].next_wants() {
            if !may_take(levels, level, count) {
                break;
            }
            levels[level].serve_next();
        }
    }
}
