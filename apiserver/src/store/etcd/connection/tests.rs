use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use hyper::rt::ReadBuf;

use super::*;

/// Notes each write; takes none while it is full, and has nothing to read.
#[derive(Default)]
struct Wire {
    written: Vec<Vec<u8>>,
    full: bool,
}

impl Read for Wire {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.full {
            return Poll::Pending;
        }
        self.written.push(bytes.to_vec());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A task that counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

struct Task {
    stream: Gathered<Wire>,
    woken: Arc<Woken>,
}

impl Task {
    fn new() -> Self {
        Self { stream: Gathered::new(Wire::default()), woken: Arc::default() }
    }

    /// Does something with the stream; also answers how often that woke the task.
    fn turn<R>(&mut self, turn: impl FnOnce(Pin<&mut Gathered<Wire>>, &mut Context<'_>) -> R) -> (R, usize) {
        let before = self.woken.0.load(Ordering::SeqCst);
        let waker = Waker::from(self.woken.clone());
        let done = turn(Pin::new(&mut self.stream), &mut Context::from_waker(&waker));
        (done, self.woken.0.load(Ordering::SeqCst) - before)
    }

    fn write(&mut self, bytes: &[u8]) -> Poll<usize> {
        let slices = [IoSlice::new(bytes), IoSlice::new(b".")];
        let (written, _) = self.turn(|stream, context| stream.poll_write_vectored(context, &slices));
        written.map(Result::unwrap)
    }

    fn flush(&mut self) -> (bool, usize) {
        let (flushed, woken) = self.turn(|stream, context| stream.poll_flush(context));
        (flushed.map(Result::unwrap).is_ready(), woken)
    }

    fn read(&mut self) {
        let (read, woken) = self.turn(|stream, context| {
            stream.poll_read(context, ReadBuf::new(&mut [0; 8]).unfilled()).is_pending()
        });
        assert!(read && woken == 0);
    }
}

#[test]
fn what_is_written_in_one_turn_leaves_in_the_next() {
    let mut task = Task::new();
    assert_eq!(task.write(b"one"), Poll::Ready(4));
    assert_eq!(task.flush(), (true, 1));
    assert_eq!(task.write(b"two"), Poll::Ready(4));
    assert_eq!(task.flush(), (true, 1));
    assert!(task.stream.stream.written.is_empty());
    task.read();
    assert_eq!(task.stream.stream.written, [b"one.two.".to_vec()]);
    assert_eq!(task.flush(), (true, 0), "there is nothing to wake up for");
}

#[test]
fn the_last_words_leave_before_the_end() {
    let mut task = Task::new();
    assert_eq!(task.write(b"bye"), Poll::Ready(4));
    let (ended, _) = task.turn(|stream, context| stream.poll_shutdown(context));
    assert!(ended.is_ready());
    assert_eq!(task.stream.stream.written, [b"bye.".to_vec()]);
}

#[test]
fn nobody_spins_or_piles_up_behind_a_full_wire() {
    let mut task = Task::new();
    task.stream.stream.full = true;
    assert_eq!(task.write(&[b'x'; MOST]), Poll::Ready(MOST + 1));
    assert_eq!(task.flush(), (true, 1));
    task.read();
    assert_eq!(task.flush(), (false, 0), "the wire wakes the task when it takes something");
    assert_eq!(task.write(b"more"), Poll::Pending);
    task.stream.stream.full = false;
    assert_eq!(task.flush(), (true, 0));
    assert_eq!(task.write(b"more"), Poll::Ready(5));
}
