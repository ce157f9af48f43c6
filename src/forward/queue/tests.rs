//! The queue against a naive model, crashes, torn and broken files.

use std::fs::{self, OpenOptions};
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const MIB: u64 = 1 << 20;

fn open(dir: Option<&Path>, adjust: impl FnOnce(&mut Bounds)) -> Queue {
    let mut bounds = Bounds {
        held: Arc::default(),
        max_bytes: 100 * MIB,
        drops_oldest: false,
        is_durable: false,
        room: dir.map(|_| Room::new(MIB)),
    };
    adjust(&mut bounds);
    Queue::open(dir, bounds, ForwardMetrics::new()).unwrap()
}

fn durable(bounds: &mut Bounds) {
    bounds.is_durable = true;
}

/// A body that nobody mistakes for another one.
fn body(number: u64, len: usize) -> Bytes {
    let mut body = number.to_le_bytes().to_vec();
    body.resize(len.max(8), b'x');
    body.into()
}

fn number_of(request: &Request) -> u64 {
    u64::from_le_bytes(request.body[..8].try_into().unwrap())
}

/// Puts a request in as a receiver does.
fn push(queue: &mut Queue, numbers: impl IntoIterator<Item = u64>, len: usize) {
    let arrivals = numbers.into_iter().map(|number| {
        let body = body(number, len);
        let bytes = body.len() as u64;
        queue.bounds.held.fetch_add(bytes, Ordering::Relaxed);
        let room = queue.bounds.room.as_ref();
        Arrival {
            at: number,
            spans: 1,
            encoding: Encoding::Json,
            permit: room.and_then(|room| room.try_take(bytes)),
            body,
        }
    });
    let arrivals = arrivals.collect();
    queue.push(arrivals);
}

fn next(queue: &mut Queue) -> Option<Request> {
    if queue.is_next_on_disk() {
        queue.load();
    }
    queue.pop()
}

/// Takes everything out and is done with it.
fn drain(queue: &mut Queue) -> Vec<u64> {
    let mut numbers = Vec::new();
    while let Some(request) = next(queue) {
        numbers.push(number_of(&request));
        queue.finish(&[request.sequence]);
    }
    assert!(queue.is_empty());
    assert_eq!(queue.bounds.held.load(Ordering::Relaxed), 0);
    numbers
}

/// The queue's files, without its lock.
fn files(dir: &TempDir) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.path()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| !path.ends_with("lock")).collect();
    paths.sort();
    paths
}

#[test]
fn after_a_crash_all_is_there_that_was_not_done_with_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = open(Some(dir.path()), durable);
    queue.recover().unwrap();
    push(&mut queue, 0..10, 100);
    let taken: Vec<Request> = (0..5).map(|_| next(&mut queue).unwrap()).collect();
    queue.finish(&[taken[1].sequence, taken[3].sequence]);
    // Nothing is closed, as with kill -9.
    drop(queue);
    let mut queue = open(Some(dir.path()), durable);
    let recovered = queue.recover().unwrap();
    assert_eq!((recovered.requests, recovered.truncated), (8, 0));
    assert_eq!(recovered.bytes, 800);
    push(&mut queue, [10], 100);
    assert_eq!(drain(&mut queue), [0, 2, 4, 5, 6, 7, 8, 9, 10]);
    queue.close();
    assert_eq!(files(&dir), Vec::<PathBuf>::new());
}

#[test]
fn at_a_regular_stop_what_was_in_memory_alone_goes_to_the_disk_before_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = open(Some(dir.path()), |_| ());
    queue.recover().unwrap();
    // The memory holds half a MiB; the rest goes to the disk.
    push(&mut queue, 0..12, 100_000);
    assert!(queue.disk.as_ref().unwrap().unread() > 0);
    let under_way = next(&mut queue).unwrap();
    assert_eq!(number_of(&under_way), 0);
    assert_eq!(queue.close(), 12);
    drop(queue);
    let mut queue = open(Some(dir.path()), |_| ());
    assert_eq!(queue.recover().unwrap().requests, 12);
    assert_eq!(drain(&mut queue), (0..12).collect::<Vec<u64>>());
}

#[test]
fn a_file_that_is_torn_anywhere_gives_its_whole_requests_and_counts_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = open(Some(dir.path()), durable);
    queue.recover().unwrap();
    push(&mut queue, 0..3, 20);
    drop(queue);
    let path = files(&dir).remove(0);
    let whole = fs::read(&path).unwrap();
    let record = whole.len() / 3;
    assert_eq!(record, record::HEADER_BYTES + 20);
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let mut queue = open(Some(dir.path()), durable);
        let recovered = queue.recover().unwrap();
        let requests = (len / record) as u64;
        assert_eq!(recovered.requests, requests);
        assert_eq!(recovered.truncated, (len % record) as u64);
        // What comes now stands behind them and is read too.
        push(&mut queue, [7], 20);
        drop(queue);
        let mut queue = open(Some(dir.path()), durable);
        queue.recover().unwrap();
        let expected: Vec<u64> = (0..requests).chain([7]).collect();
        assert_eq!(drain(&mut queue), expected);
        queue.close();
    }
}

#[test]
fn without_a_directory_the_oldest_or_nothing_goes_and_what_is_left_is_lost() {
    let mut queue = open(None, |bounds| {
        bounds.max_bytes = 1_000;
        bounds.drops_oldest = true;
    });
    queue.recover().unwrap();
    push(&mut queue, 0..15, 100);
    assert_eq!(drain(&mut queue), (5..15).collect::<Vec<u64>>());
    push(&mut queue, 0..3, 100);
    assert!(!queue.keeps());
    assert_eq!(queue.close(), 0);
}

#[test]
fn the_oldest_go_from_the_disk_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = open(Some(dir.path()), |bounds| {
        bounds.max_bytes = 2_000_000;
        bounds.drops_oldest = true;
    });
    queue.recover().unwrap();
    for number in 0..50 {
        push(&mut queue, [number], 100_000);
    }
    assert_eq!(drain(&mut queue), (30..50).collect::<Vec<u64>>());
}

#[test]
fn files_go_as_soon_as_all_in_them_is_done_with() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = open(Some(dir.path()), |bounds| {
        durable(bounds);
        bounds.max_bytes = MIB;
    });
    queue.recover().unwrap();
    // A file takes 64 KiB here, thus four requests.
    push(&mut queue, 0..40, 20_000);
    assert_eq!(files(&dir).len(), 10);
    for _ in 0..36 {
        let request = next(&mut queue).unwrap();
        queue.finish(&[request.sequence]);
    }
    assert_eq!(files(&dir).len(), 1);
    assert_eq!(queue.disk.as_ref().unwrap().bytes(), 4 * 20_036);
}

#[test]
fn a_directory_belongs_to_one_queue() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(Some(dir.path()), |_| ());
    let second = Disk::open(dir.path(), MIB).unwrap_err();
    assert!(
        second.to_string().contains("another slo-copilot"),
        "{second}"
    );
}

#[test]
fn a_disk_that_fails_is_no_reason_to_lose_what_the_memory_holds() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("queue");
    let mut queue = open(Some(&folder), durable);
    queue.recover().unwrap();
    push(&mut queue, [0], 100);
    // A file cannot be made where there is no folder any more.
    queue.disk.as_mut().unwrap().close_file();
    fs::remove_dir_all(&folder).unwrap();
    push(&mut queue, [1, 2], 100);
    fs::create_dir_all(&folder).unwrap();
    push(&mut queue, [3], 100);
    assert_eq!(drain(&mut queue), [0, 1, 2, 3]);
}

#[derive(Clone, Debug)]
enum Step {
    Push(u8, usize),
    /// Takes one out.
    Take,
    /// Is done with one of those that are out.
    Finish(prop::sample::Index),
    /// The process is killed.
    Crash,
    /// The process stops and starts.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..5_u8, prop_oneof![8..200_usize, 50_000..300_000_usize])
            .prop_map(|(count, len)| Step::Push(count, len)),
        4 => Just(Step::Take),
        3 => any::<prop::sample::Index>().prop_map(Step::Finish),
        1 => Just(Step::Crash),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// The model is a list of what is not done with. A crash loses nothing where all is on the disk.
    #[test]
    fn property_a_queue_is_a_list_that_survives(
        steps in prop::collection::vec(step(), 1..60),
        is_durable: bool,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let start = || {
            let mut queue = open(Some(dir.path()), |bounds| {
                bounds.is_durable = is_durable;
                bounds.max_bytes = 8 * MIB;
            });
            let recovered = queue.recover().unwrap();
            (queue, recovered.requests)
        };
        let (mut queue, _) = start();
        let mut waiting: VecDeque<u64> = VecDeque::new();
        let mut out: Vec<Request> = Vec::new();
        let mut number = 0;
        for step in steps {
            match step {
                Step::Push(count, len) => {
                    let numbers = number..number + u64::from(count);
                    number = numbers.end;
                    waiting.extend(numbers.clone());
                    push(&mut queue, numbers, len);
                }
                Step::Take => {
                    let taken = next(&mut queue);
                    prop_assert_eq!(taken.as_ref().map(number_of), waiting.pop_front());
                    out.extend(taken);
                }
                Step::Finish(_) if out.is_empty() => {}
                Step::Finish(index) => {
                    let request = out.swap_remove(index.index(out.len()));
                    queue.finish(&[request.sequence]);
                }
                Step::Crash if !is_durable => {}
                Step::Crash | Step::Restart => {
                    let mut left: Vec<u64> = out.drain(..).map(|own| number_of(&own)).collect();
                    left.extend(&waiting);
                    left.sort_unstable();
                    if matches!(step, Step::Restart) {
                        prop_assert_eq!(queue.close(), left.len() as u64);
                    }
                    drop(queue);
                    let recovered;
                    (queue, recovered) = start();
                    prop_assert_eq!(recovered, left.len() as u64);
                    // Without durability, what was under way stands in files of its own.
                    let mut all = Vec::new();
                    while let Some(request) = next(&mut queue) {
                        all.push(number_of(&request));
                        out.push(request);
                    }
                    if is_durable {
                        prop_assert_eq!(&all, &left);
                    }
                    all.sort_unstable();
                    prop_assert_eq!(all, left);
                    waiting.clear();
                }
            }
        }
        let rest: Vec<u64> = std::iter::from_fn(|| next(&mut queue)).map(|own| number_of(&own)).collect();
        prop_assert_eq!(rest, Vec::from(waiting));
    }

    /// Whatever becomes of a file, no request comes out of it that did not go in.
    #[test]
    fn property_a_broken_file_never_gives_another_request(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 1..4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut queue = open(Some(dir.path()), durable);
        queue.recover().unwrap();
        push(&mut queue, 0..5, 50);
        drop(queue);
        let path = files(&dir).remove(0);
        let mut bytes = fs::read(&path).unwrap();
        for (index, flip) in flips {
            let at = index.index(bytes.len());
            bytes[at] ^= flip;
        }
        OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
        fs::write(&path, &bytes).unwrap();
        let mut queue = open(Some(dir.path()), durable);
        queue.recover().unwrap();
        while let Some(request) = next(&mut queue) {
            let number = number_of(&request);
            prop_assert!(number < 5);
            prop_assert_eq!(&request.body, &body(number, 50));
        }
    }
}
