//! All outcomes of small scripts, enumerated from the rules at the top of the module without its code,
//! against the outcomes that are seen. A script is random; files hold up to two sectors, each of one byte
//! repeated.
//!
//! The oracle keeps every name in one directory. It lists what is not durable as choices: each sector is what
//! it held at one of the times since it was durable, each file has one of its sizes, each change of an entry
//! happened or not. It then goes through all combinations.

use super::*;
use alloc::format;
use alloc::{string::ToString, vec};

const SECTOR: usize = 512;

#[derive(Clone, Debug)]
enum Op {
    Create(char),
    Write { file: char, sector: usize, byte: u8 },
    Cut { file: char, sectors: usize },
    Link(char, char),
    Rename(char, char),
    Remove(char),
    Sync(char),
    SyncDir,
}

/// A file: for each sector all that it may hold, and all sizes, the present one last.
#[derive(Clone, Default)]
struct File0 {
    sectors: [Vec<u8>; 2],
    sizes: Vec<usize>,
}

#[derive(Clone, Copy)]
enum Entry {
    Set(char, usize),
    Clear(char),
    Move(char, char, usize),
}

#[derive(Default)]
struct Oracle {
    files: Vec<File0>,
    now: BTreeMap<char, usize>,
    durable: BTreeMap<char, usize>,
    pending: Vec<Entry>,
}

impl Oracle {
    /// Carries out what is possible; `false` if it is not.
    fn carry_out(&mut self, op: &Op) -> bool {
        let exists = |name: &char| self.now.contains_key(name);
        match op {
            Op::Create(name) if !exists(name) => {
                self.files.push(File0 { sectors: [vec![0], vec![0]], sizes: vec![0] });
                self.enter(Entry::Set(*name, self.files.len() - 1));
            }
            Op::Write { file, sector, byte } if exists(file) => {
                let file = &mut self.files[self.now[file]];
                file.sectors[*sector].push(*byte);
                let size = *file.sizes.last().unwrap();
                file.resize(size.max(sector + 1));
            }
            Op::Cut { file, sectors } if exists(file) => {
                let file = &mut self.files[self.now[file]];
                for sector in *sectors..2 {
                    if *file.sectors[sector].last().unwrap() != 0 {
                        file.sectors[sector].push(0);
                    }
                }
                file.resize(*sectors);
            }
            Op::Link(from, to) if exists(from) && !exists(to) => {
                self.enter(Entry::Set(*to, self.now[from]));
            }
            Op::Rename(from, to) if exists(from) && self.now.get(to) != self.now.get(from) => {
                self.enter(Entry::Move(*from, *to, self.now[from]));
            }
            Op::Remove(name) if exists(name) => self.enter(Entry::Clear(*name)),
            Op::Sync(name) if exists(name) => {
                let file = &mut self.files[self.now[name]];
                for held in &mut file.sectors {
                    held.drain(..held.len() - 1);
                }
                file.sizes.drain(..file.sizes.len() - 1);
            }
            Op::SyncDir => {
                self.durable = self.now.clone();
                self.pending.clear();
            }
            _ => return false,
        }
        true
    }

    fn enter(&mut self, entry: Entry) {
        happen(&mut self.now, entry);
        self.pending.push(entry);
    }

    fn outcomes(&self) -> BTreeSet<Tree> {
        let mut outcomes = BTreeSet::new();
        for mask in 0..1_u32 << self.pending.len() {
            let mut names = self.durable.clone();
            for (bit, entry) in self.pending.iter().enumerate() {
                if mask >> bit & 1 == 1 {
                    happen(&mut names, *entry);
                }
            }
            // One content for each file, under all its names.
            let mut files: Vec<usize> = names.values().copied().collect();
            files.sort_unstable();
            files.dedup();
            let mut trees = vec![Tree::new()];
            for file in files {
                let named: Vec<char> =
                    names.iter().filter(|&(_, other)| *other == file).map(|(name, _)| *name).collect();
                let mut next = Vec::new();
                for tree in &trees {
                    for content in self.files[file].contents() {
                        let mut tree = tree.clone();
                        tree.extend(named.iter().map(|name| (name.to_string(), content.clone())));
                        next.push(tree);
                    }
                }
                trees = next;
            }
            outcomes.extend(trees);
        }
        outcomes
    }
}

impl File0 {
    fn resize(&mut self, size: usize) {
        if *self.sizes.last().unwrap() != size {
            self.sizes.push(size);
        }
    }

    fn contents(&self) -> BTreeSet<Vec<u8>> {
        let mut sizes: BTreeSet<usize> = self.sizes.iter().copied().collect();
        for pair in self.sizes.windows(2) {
            sizes.extend(pair[0]..pair[1]); // It may have grown by a part.
        }
        let mut contents = BTreeSet::new();
        for &size in &sizes {
            for &first in &self.sectors[0] {
                for &second in &self.sectors[1] {
                    let whole = [[first; SECTOR], [second; SECTOR]].concat();
                    contents.insert(whole[..size * SECTOR].to_vec());
                }
            }
        }
        contents
    }
}

fn happen(names: &mut BTreeMap<char, usize>, entry: Entry) {
    match entry {
        Entry::Set(name, file) => drop(names.insert(name, file)),
        Entry::Clear(name) => drop(names.remove(&name)),
        Entry::Move(from, to, file) => {
            names.remove(&from);
            names.insert(to, file);
        }
    }
}

fn carry_out(fs: &CrashFs, op: &Op) {
    let file = |name: &char| open(fs, &name.to_string());
    match op {
        Op::Create(name) => drop(make(fs, &name.to_string(), b"")),
        Op::Write { file: name, sector, byte } => {
            file(name).write_at((sector * SECTOR) as u64, &[*byte; SECTOR]).unwrap();
        }
        Op::Cut { file: name, sectors } => file(name).set_len((sectors * SECTOR) as u64).unwrap(),
        Op::Link(from, to) => fs.link(&from.to_string(), &to.to_string()).unwrap(),
        Op::Rename(from, to) => fs.rename(&from.to_string(), &to.to_string()).unwrap(),
        Op::Remove(name) => fs.remove_file(&name.to_string()).unwrap(),
        Op::Sync(name) => sync(&file(name)),
        Op::SyncDir => fs.sync_dir("", SITE).unwrap(),
    }
}

fn random_op(random: &crate::SeededEntropy) -> Op {
    let below = |end: u64| random.next_word() % end;
    let name = || ['a', 'b', 'c'][below(3) as usize];
    match below(12) {
        0..=1 => Op::Create(name()),
        2..=4 => Op::Write { file: name(), sector: below(2) as usize, byte: 1 + below(250) as u8 },
        5 => Op::Cut { file: name(), sectors: below(2) as usize },
        6 => Op::Link(name(), name()),
        7..=8 => Op::Rename(name(), name()),
        9 => Op::Remove(name()),
        10 => Op::Sync(name()),
        _ => Op::SyncDir,
    }
}

#[test]
fn the_outcomes_of_small_scripts_are_those_that_the_rules_allow_and_all_of_them_are_seen() {
    let (mut scripts, mut outcomes_count) = (0, 0);
    for seed in 0..400 {
        let random = crate::SeededEntropy::new(seed);
        let (fs, mut oracle) = (CrashFs::new(), Oracle::default());
        let mut script = Vec::new();
        while script.len() < 9 {
            let op = random_op(&random);
            if oracle.carry_out(&op) {
                carry_out(&fs, &op);
                script.push(op);
            }
        }
        let allowed = oracle.outcomes();
        let now: Tree = oracle.now.keys().map(|name| (name.to_string(), Vec::new())).collect();
        assert!(tree(&fs).keys().eq(now.keys()), "seed {seed}: {script:?}");

        // Few enough to wait until each was seen, however rare.
        let is_complete = allowed.len() <= 40;
        let images = if is_complete { 500_000 } else { 1_000 };
        let mut seen = BTreeSet::new();
        for image in 0..images {
            let outcome = tree(&fs.crash_with(PIECES, seed << 32 | image));
            assert!(allowed.contains(&outcome), "seed {seed}: {script:?} leaves {}", brief(&outcome));
            seen.insert(outcome);
            if is_complete && seen.len() == allowed.len() {
                break;
            }
        }
        if is_complete {
            let missing: Vec<_> = allowed.difference(&seen).map(brief).collect();
            assert!(missing.is_empty(), "seed {seed}: {script:?} never leaves {missing:?}");
            scripts += 1;
            outcomes_count += allowed.len();
        }
    }
    assert!(scripts > 100 && outcomes_count > 1000, "{scripts} scripts with {outcomes_count} outcomes");
}

/// The first byte of each sector.
fn brief(tree: &Tree) -> String {
    let firsts = |content: &Vec<u8>| content.chunks(SECTOR).map(|sector| sector[0]).collect::<Vec<_>>();
    format!("{:?}", tree.iter().map(|(name, content)| (name, firsts(content))).collect::<Vec<_>>())
}
