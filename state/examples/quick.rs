#[path = "../../benches/src/root/world.rs"]
mod world;
use citius_hashing::Hasher;
use citius_state::{ssmt::*, *};
use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, atomic::*},
    time::Instant,
};

#[derive(Debug)]
struct Spin {
    n: usize,
    shared: Arc<Sh>,
}
#[derive(Default)]
struct Sh {
    gen_: AtomicUsize,
    work: Mutex<Option<Arc<SharedWork>>>,
    done: AtomicUsize,
}
impl std::fmt::Debug for Sh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("sh")
    }
}
impl Spin {
    fn new(n: usize) -> Self {
        let shared: Arc<Sh> = Arc::default();
        for w in 1..n {
            let s = shared.clone();
            std::thread::spawn(move || {
                let mut seen = 0;
                let mut idle = 0u64;
                loop {
                    let g = s.gen_.load(Ordering::Acquire);
                    if g != seen {
                        seen = g;
                        idle = 0;
                        let work = s.work.lock().unwrap().clone();
                        if let Some(work) = work {
                            work(w);
                        }
                        s.done.fetch_add(1, Ordering::Release);
                    } else {
                        idle += 1;
                        if idle > 2_000_000 {
                            std::thread::sleep(std::time::Duration::from_micros(50));
                        } else {
                            std::hint::spin_loop();
                        }
                    }
                }
            });
        }
        Self { n, shared }
    }
}
impl Workers for Spin {
    fn count(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.n).unwrap()
    }
    fn run(&self, work: &Arc<SharedWork>) {
        if self.n == 1 {
            return work(0);
        }
        *self.shared.work.lock().unwrap() = Some(work.clone());
        self.shared.done.store(0, Ordering::Relaxed);
        self.shared.gen_.fetch_add(1, Ordering::Release);
        work(0);
        while self.shared.done.load(Ordering::Acquire) < self.n - 1 {
            std::hint::spin_loop();
        }
        *self.shared.work.lock().unwrap() = None;
    }
}
fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    s.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e6
}
fn rss() -> u64 {
    let s = std::fs::read_to_string("/proc/self/statm").unwrap();
    s.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn main() {
    let arg = |i: usize, d: usize| std::env::args().nth(i).map_or(d, |a| a.parse().unwrap());
    let (accounts, slots, threads) = (arg(1, 1_000_000), arg(2, 4_000_000), arg(3, 2));
    let shape = world::Shape { accounts, slots, account_writes: 450, slot_writes: 850 };
    let world = world::World::new(shape);
    let genesis = Arc::new(world.genesis());
    let hasher = Arc::new(Hasher::cpu());
    let before = rss();
    let config = SsmtConfig { history: 4, ..SsmtConfig::default() };
    let trie = Ssmt::new(config, hasher.clone(), Arc::new(Spin::new(threads)));
    let start = Instant::now();
    let sealed = trie.seal(trie.head(), &genesis).unwrap();
    let took = start.elapsed();
    drop(genesis);
    trie.set_head(sealed.version).unwrap();
    let leaves = accounts + slots;
    println!(
        "build {leaves} leaves in {took:?}: {:.2} M/s; nodes hashed {}; rss {} B/leaf; {:?}",
        leaves as f64 / took.as_secs_f64() / 1e6,
        sealed.nodes_hashed,
        (rss() as i64 - before as i64) / leaves as i64,
        trie.memory()
    );
    let mut cpus = vec![];
    let mut times = vec![];
    let mut bare = vec![];
    let mut perms = 0;
    let mut nodes = 0;
    for block in 1..=arg(4, 60) as u64 {
        let changes = Arc::new(world.block(block));
        let start = Instant::now();
        let c = cpu();
        let sealed = trie.seal(trie.head(), &changes).unwrap();
        let t = start.elapsed().as_secs_f64() * 1e3;
        let c = cpu() - c;
        cpus.push(c);
        if block % 50 != 6 {
            trie.set_head(sealed.version).unwrap();
            times.push(t);
            continue;
        }
        let made = trie.nodes_made(sealed.version).unwrap();
        nodes = made.len();
        perms = made.iter().map(|m| m.len() / 136 + 1).sum::<usize>();
        let slices: Vec<&[u8]> = made.iter().map(Vec::as_slice).collect();
        let mut digests = vec![Default::default(); slices.len()];
        hasher.hash_each(&slices, &mut digests);
        let start = Instant::now();
        hasher.hash_each(&slices, &mut digests);
        let b = start.elapsed().as_secs_f64() * 1e3;
        trie.set_head(sealed.version).unwrap();
        if block > 5 {
            times.push(t);
            bare.push(b);
        }
    }
    times.sort_by(f64::total_cmp);
    bare.sort_by(f64::total_cmp);
    cpus.sort_by(f64::total_cmp);
    println!("cpu median {:.3} min {:.3}", cpus[cpus.len() / 2], cpus[0]);
    println!(
        "threads {threads}: seal median {:.3} ms min {:.3} max {:.3}; bare hashing 1 thread {:.3} ms; nodes {nodes} perms {perms}",
        times[times.len() / 2],
        times[0],
        times[times.len() - 1],
        bare[bare.len() / 2]
    );
}
