//! Requests no kernel would send (semantics 6.1): random bytes, truncated and damaged requests, unknown opcodes, through the
//! decoder and the whole of what is behind it, with a socket in place of the device.

use std::sync::Arc;
use std::time::{Duration, Instant};

use owltmp::fuse::decode::{Layout, Malformed, decode};
use owltmp::fuse::filesystem_handler;
use owltmp::ops::Filesystem;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};

use crate::entries::settings;
use crate::fake::{FORGET, Fake, INTERRUPT, LAYOUT, LOOKUP, request};

const NOTIFY_REPLY: u32 = 41;
const BATCH_FORGET: u32 = 42;
const ENOSYS: i32 = -libc::ENOSYS;
const EINVAL: i32 = -libc::EINVAL;

fn filesystem() -> Fake {
    Fake::start(
        1,
        filesystem_handler(Arc::new(Filesystem::new(&settings()).unwrap())).unwrap(),
    )
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _either = decode(&bytes, LAYOUT);
        let _either = decode(&bytes, Layout::default());
    }

    #[test]
    fn any_body_is_decoded_or_refused(opcode in 0..60u32, body in prop::collection::vec(any::<u8>(), 0..300)) {
        match decode(&request(opcode, 7, 1, &body), LAYOUT) {
            Ok(request) => prop_assert_eq!(request.unique.0, 7),
            Err(malformed) => prop_assert_eq!(malformed, Malformed::Body(owltmp::types::Unique(7))),
        }
    }
}

/// Each opcode there is and some there are not, cut at each length: always an answer, always the daemon alive.
#[test]
fn truncated_requests_get_an_answer() {
    let mut fake = filesystem();
    let mut unique = 10;
    for opcode in (0..70).chain([4096, u32::MAX]) {
        if [FORGET, BATCH_FORGET, INTERRUPT, NOTIFY_REPLY].contains(&opcode) {
            continue;
        }
        for length in 0..100 {
            unique += 2;
            fake.ask(0, &request(opcode, unique, 1, &vec![0; length]));
            assert_eq!(fake.answer(0).unique, unique, "opcode {opcode}, {length} bytes");
        }
    }
    fake.end();
}

#[test]
fn what_cannot_be_read_is_einval_and_what_is_unknown_enosys() {
    let mut fake = filesystem();
    fake.ask(0, &request(LOOKUP, 2, 1, b"no end"));
    assert_eq!(fake.answer(0).error, EINVAL);
    fake.ask(0, &request(999, 4, 1, b""));
    assert_eq!(fake.answer(0).error, ENOSYS);
    let mut lies = request(LOOKUP, 6, 1, b"a\0");
    lies[0] += 1;
    fake.ask(0, &lies);
    assert_eq!(fake.answer(0).error, EINVAL);
    fake.ask(0, b"too short for a header");
    fake.ask(0, &request(LOOKUP, 8, 1, b"a\0"));
    assert_eq!((fake.answer(0).error, fake.parking().len()), (0, 0));
    fake.end();
}

/// A plausible request: an opcode that exists, nodes and names that may, lengths that are often right.
fn plausible(rng: &mut TestRng, unique: u64) -> Vec<u8> {
    let mut pick = |below: u32| rng.next_u32() % below;
    let mut opcode = [pick(54), pick(54), pick(54), LOOKUP][pick(4) as usize];
    let nodeid = u64::from(pick(12));
    let mut body = Vec::new();
    if pick(4) == 0 {
        // A lock or a transfer of somebody, on an open file that there may be.
        opcode = [31, 32, 33, 15, 16, 25][pick(6) as usize];
        let (fh, owner, first) = (pick(40), pick(3), pick(20));
        let words = match opcode {
            31..=33 => [fh, owner, first, first + pick(20), pick(3), pick(2)]
                .map(u64::from)
                .to_vec(),
            25 => [fh, 0, owner].map(u64::from).to_vec(),
            // With an owner, and a flag that says so.
            _ => vec![fh.into(), first.into(), 2 << 32 | u64::from(pick(20)), owner.into(), 2],
        };
        body.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    }
    for _ in 0..pick(15) {
        let word = match pick(5) {
            0 => u64::MAX >> pick(64),
            1 => 1 << pick(63),
            _ => u64::from(pick(9)),
        };
        body.extend(word.to_ne_bytes());
    }
    for _ in 0..pick(3) {
        body.extend([b'a' + pick(4) as u8; 3]);
        body.push(0);
    }
    request(opcode, unique, nodeid, &body)
}

/// Reads answers until that to `last`. Returns whether that to `unique` was among them.
fn heard(fake: &mut Fake, unique: u64, last: u64) -> bool {
    let mut among = false;
    loop {
        let answer = fake.answer(0).unique;
        among |= answer == unique;
        if answer == last {
            return among;
        }
    }
}

/// A fuzz run: OWLTMP_FUZZ_SECONDS (2 by default) of plausible nonsense against a filesystem. Every request that takes an
/// answer gets one, and in the end the filesystem still works.
#[test]
fn nonsense_never_stops_the_daemon() {
    let seconds = std::env::var("OWLTMP_FUZZ_SECONDS").map_or(2, |text| text.parse().unwrap());
    let seed: u8 = std::env::var("OWLTMP_FUZZ_SEED").map_or(1, |text| text.parse().unwrap());
    let settings = owltmp::types::Settings {
        max_bytes: Some(64 << 20),
        max_inodes: Some(10_000),
        user_bytes: None,
        user_inodes: None,
        ..settings()
    };
    let mut fake = Fake::start(
        1,
        filesystem_handler(Arc::new(Filesystem::new(&settings).unwrap())).unwrap(),
    );
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let (mut unique, mut waited) = (2, 0);
    while unique < 2000 || Instant::now() < deadline {
        unique += 2;
        let bytes = plausible(&mut rng, unique);
        let opcode = u32::from_ne_bytes(bytes[4..8].try_into().unwrap());
        fake.ask(0, &bytes);
        // What takes no answer, and what waits for a lock, is told by something else that is asked behind it.
        fake.ask(0, &request(LOOKUP, unique + 1, 1, b"a\0"));
        let answered = heard(&mut fake, unique, unique + 1);
        // A malformed FORGET is answered, which the kernel ignores; a good one is not.
        if !answered && ![FORGET, BATCH_FORGET, INTERRUPT, NOTIFY_REPLY].contains(&opcode) {
            waited += 1;
            fake.ask(0, &request(INTERRUPT, unique + 1, 0, &unique.to_ne_bytes()));
            heard(&mut fake, unique, unique);
        }
    }
    println!("{} requests, of which {waited} waited for a lock", unique / 2);
    fake.end();
}
