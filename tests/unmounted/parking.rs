//! Requests that wait, and the INTERRUPTs that end the wait (semantics 4.2, architecture "The life of a request"), with the
//! test in place of the kernel: so each order of events is made, not hoped for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use owltmp::fuse::decode::{Operation, Request};
use owltmp::fuse::{Delivery, GiveUp, Handler, MAX_PARKED_OF_ONE, Parked, Reply};
use owltmp::types::{Errno, NodeId};

use crate::fake::{FORGET, Fake, INTERRUPT, LOOKUP, request};

const EINTR: i32 = -libc::EINTR;
const EAGAIN: i32 = -libc::EAGAIN;
const EIO: i32 = -libc::EIO;
const ENOENT: i32 = -libc::ENOENT;

/// Does to a LOOKUP what its name says.
struct ByName {
    parked: Mutex<Vec<Parked>>,
    interrupts: AtomicUsize,
    /// A handler of `hold` says here that it runs, and goes on when it is told to.
    at: Sender<()>,
    go: Mutex<Receiver<()>>,
}

impl ByName {
    fn park(self: &Arc<Self>, reply: Reply<'_>, give_up: GiveUp) {
        if let Ok(parked) = reply.park(give_up) {
            self.parked.lock().unwrap().push(parked);
        }
    }

    fn hold(&self) {
        self.at.send(()).unwrap();
        self.go.lock().unwrap().recv().unwrap();
    }
}

struct Names(Arc<ByName>);

impl Handler for Names {
    fn handle(&self, request: &Request<'_>, reply: Reply<'_>, _out: &mut [u8]) {
        let Operation::Lookup { name } = request.operation else {
            return reply.error(Errno::ENOSYS);
        };
        let this = Arc::clone(&self.0);
        let count = Box::new(move || {
            this.interrupts.fetch_add(1, Ordering::Relaxed);
            true
        });
        match name {
            b"park" => self.0.park(reply, count),
            b"park, panic when interrupted" => self.0.park(reply, Box::new(|| panic!("as the test wants"))),
            b"park, own the others" => {
                let others = std::mem::take(&mut *self.0.parked.lock().unwrap());
                self.0.park(
                    reply,
                    Box::new(move || {
                        drop(others);
                        true
                    }),
                );
            }
            b"hold, park" => {
                self.0.hold();
                self.0.park(reply, count);
            }
            b"hold" => {
                self.0.hold();
                reply.error(Errno::ENOENT);
            }
            b"panic" => panic!("as the test wants"),
            b"park, panic" => {
                let _parked = reply.park(count);
                panic!("as the test wants");
            }
            b"forget" => {}
            _ => reply.error(Errno::ENOENT),
        }
    }

    fn forget(&self, _node: NodeId, _count: u64) {
        panic!("as the test wants");
    }
}

struct World {
    fake: Fake,
    handler: Arc<ByName>,
    at: Receiver<()>,
    go: Sender<()>,
}

impl World {
    fn new(workers: usize) -> World {
        let ((at_sender, at), (go, go_receiver)) = (channel(), channel());
        let handler = Arc::new(ByName {
            parked: Mutex::default(),
            interrupts: AtomicUsize::new(0),
            at: at_sender,
            go: Mutex::new(go_receiver),
        });
        let fake = Fake::start(workers, Arc::new(Names(Arc::clone(&handler))));
        World { fake, handler, at, go }
    }

    fn lookup(&mut self, worker: usize, unique: u64, name: &str) {
        let name = [name.as_bytes(), b"\0"].concat();
        self.fake.ask(worker, &request(LOOKUP, unique, 1, &name));
    }

    fn interrupt(&mut self, worker: usize, unique: u64) {
        self.fake
            .ask(worker, &request(INTERRUPT, unique | 1, 0, &unique.to_ne_bytes()));
    }

    /// Returns when the worker has done all it was asked to: it answers in order.
    fn settle(&mut self, worker: usize) {
        self.lookup(worker, 1000, "nothing");
        self.expect(worker, 1000, ENOENT);
    }

    #[track_caller]
    fn expect(&mut self, worker: usize, unique: u64, error: i32) {
        let answer = self.fake.answer(worker);
        assert_eq!((answer.unique, answer.error), (unique, error));
    }

    fn take(&self) -> Parked {
        self.handler.parked.lock().unwrap().pop().unwrap()
    }

    fn interrupts(&self) -> usize {
        self.handler.interrupts.load(Ordering::Relaxed)
    }
}

#[test]
fn an_interrupt_ends_the_wait() {
    let mut world = World::new(2);
    world.lookup(0, 2, "park");
    world.settle(0);
    assert_eq!(world.fake.parking().len(), 1);
    // It is read by another worker; the answer goes where the request came from.
    world.interrupt(1, 2);
    world.expect(0, 2, EINTR);
    world.settle(1);
    assert_eq!((world.interrupts(), world.fake.parking().len()), (1, 0));
    let parked = world.take();
    assert!(parked.is_answered());
    assert_eq!(parked.answer(Ok(&[])), Delivery::Refused);
    world.settle(0);
    world.fake.end();
}

/// The kernel takes EAGAIN only from the descriptor that the request itself was read from, and no worker knows which that
/// is while the request is still on its way.
#[test]
fn an_interrupt_that_overtakes_its_request_is_sent_again() {
    let mut world = World::new(3);
    world.interrupt(1, 2);
    for worker in 0..3 {
        world.expect(worker, 3, EAGAIN);
    }
    world.lookup(0, 2, "park");
    world.settle(0);
    world.interrupt(2, 2);
    world.expect(0, 2, EINTR);
    // Once more, too late: the kernel has forgotten the request and takes the EAGAIN of none.
    world.interrupt(0, 2);
    for worker in 0..3 {
        world.expect(worker, 3, EAGAIN);
    }
    world.fake.end();
}

#[test]
fn a_request_interrupted_before_it_parks_does_not_park() {
    let mut world = World::new(2);
    world.lookup(0, 2, "hold, park");
    world.at.recv().unwrap();
    world.interrupt(1, 2);
    world.interrupt(1, 2);
    world.settle(1);
    world.go.send(()).unwrap();
    world.expect(0, 2, EINTR);
    assert_eq!(world.fake.parking().len(), 0);
    assert!(world.handler.parked.lock().unwrap().is_empty());
    world.fake.end();
}

#[test]
fn a_request_interrupted_before_it_finishes_leaves_nothing_behind() {
    let mut world = World::new(2);
    world.lookup(0, 2, "hold");
    world.at.recv().unwrap();
    world.interrupt(1, 2);
    world.settle(1);
    world.go.send(()).unwrap();
    world.expect(0, 2, ENOENT);
    world.settle(0);
    // Were the INTERRUPT remembered, a request with the number could not park.
    world.lookup(0, 2, "park");
    world.settle(0);
    assert_eq!((world.fake.parking().len(), world.interrupts()), (1, 0));
    assert_eq!(world.take().answer(Ok(&[])), Delivery::Taken);
    world.expect(0, 2, 0);
    world.fake.end();
}

#[test]
fn what_nobody_answers_is_eio() {
    let mut world = World::new(1);
    world.lookup(0, 2, "park");
    world.settle(0);
    drop(world.take());
    world.expect(0, 2, EIO);
    world.lookup(0, 4, "forget");
    world.expect(0, 4, EIO);
    assert!(world.fake.parking().is_empty());
    world.fake.end();
}

/// By semantics 6.4: a panic is EIO for that request, and the only worker goes on, wherever it was.
#[test]
fn a_panic_ends_one_request() {
    let mut world = World::new(1);
    world.lookup(0, 2, "panic");
    world.expect(0, 2, EIO);
    world.lookup(0, 4, "park, panic");
    world.expect(0, 4, EIO);
    world.fake.ask(0, &request(FORGET, 6, 1, &1u64.to_ne_bytes()));
    world.settle(0);
    world.lookup(0, 8, "park, panic when interrupted");
    world.interrupt(0, 8);
    world.expect(0, 8, EINTR);
    world.settle(0);
    world.fake.end();
}

#[test]
fn what_an_interrupt_would_run_may_own_other_waits() {
    let mut world = World::new(1);
    world.lookup(0, 2, "park");
    world.lookup(0, 4, "park, own the others");
    world.settle(0);
    assert_eq!(world.take().answer(Ok(&[])), Delivery::Taken);
    world.expect(0, 2, EIO);
    world.expect(0, 4, 0);
    assert!(world.fake.parking().is_empty());
    world.fake.end();
}

#[test]
fn only_so_many_wait() {
    let mut world = World::new(1);
    let uniques = || (1..=MAX_PARKED_OF_ONE as u64).map(|number| 2 * number + 1000);
    for unique in uniques() {
        world.lookup(0, unique, "park");
    }
    world.lookup(0, 2, "park");
    world.expect(0, 2, EAGAIN);
    assert_eq!(world.fake.parking().len(), MAX_PARKED_OF_ONE);
    let answerer = {
        let handler = Arc::clone(&world.handler);
        std::thread::spawn(move || {
            for parked in std::mem::take(&mut *handler.parked.lock().unwrap()) {
                assert_eq!(parked.answer(Ok(&[])), Delivery::Taken);
            }
        })
    };
    for unique in uniques() {
        world.expect(0, unique, 0);
    }
    answerer.join().unwrap();
    world.lookup(0, 4, "park");
    world.settle(0);
    assert_eq!(world.fake.parking().len(), 1);
    drop(world.take());
    world.expect(0, 4, EIO);
    world.fake.end();
}
