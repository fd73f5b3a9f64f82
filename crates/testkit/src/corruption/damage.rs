//! What can happen to the files of a database, one thing at a time.

use super::{
    image::Image,
    layout::{FileClass, sections},
    subject::Subject,
};
use crate::Rng;
use isopach::engine::table::FOOTER_BYTES;
use std::{fmt, ops::Range};

/// One thing that happened to a subject's files.
#[derive(Clone, Debug)]
pub struct Damage {
    /// What kind of thing, for reports.
    pub kind: &'static str,
    /// Which kind of file it hit first.
    pub class: FileClass,
    edit: Edit,
}

#[derive(Clone, Debug)]
enum Edit {
    /// Bytes of a file are others.
    Write { file: String, at: usize, bytes: Vec<u8> },
    /// A bit is another.
    Flip { file: String, at: usize, mask: u8 },
    /// A file ends early.
    Truncate { file: String, bytes: usize },
    /// A file goes on.
    Append { file: String, bytes: Vec<u8> },
    /// A part of a file was written over another place, as by a misdirected write.
    Misdirect { from: Part, to: Part },
    /// Two parts changed places.
    Swap(Part, Part),
    /// A file is another one, or is there and should not be.
    Put { file: String, with: String, of: &'static str, bytes: Vec<u8> },
    /// All files of a class are those of another directory.
    PutAll { class: FileClass, of: &'static str, image: Image },
    /// A file is not there.
    Remove { file: String },
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Part {
    file: String,
    what: &'static str,
    range: Range<usize>,
}

impl Damage {
    /// The files after it.
    pub fn apply(&self, image: &Image) -> Image {
        let mut image = image.clone();
        match &self.edit {
            Edit::Write { file, at, bytes } => overwrite(image.edit(file), *at, bytes),
            Edit::Flip { file, at, mask } => image.edit(file)[*at] ^= mask,
            Edit::Truncate { file, bytes } => image.edit(file).truncate(*bytes),
            Edit::Append { file, bytes } => image.edit(file).extend_from_slice(bytes),
            Edit::Misdirect { from, to } => {
                let bytes = image.get(&from.file).expect("it is there")[from.range.clone()].to_vec();
                overwrite(image.edit(&to.file), to.range.start, &bytes);
            }
            Edit::Swap(a, b) => swap(&mut image, a, b),
            Edit::Put { file, bytes, .. } => image.put(file, bytes.clone()),
            Edit::PutAll { class, image: from, .. } => put_all(&mut image, *class, from),
            Edit::Remove { file } => image.remove(file),
        }
        image
    }
}

fn overwrite(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = file.len().max(at + bytes.len());
    file.resize(end, 0);
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

fn swap(image: &mut Image, a: &Part, b: &Part) {
    let bytes =
        |image: &Image, part: &Part| image.get(&part.file).expect("it is there")[part.range.clone()].to_vec();
    let (of_a, of_b) = (bytes(image, a), bytes(image, b));
    // The later one first, so that the place of the other stays what it is.
    let (first, second) =
        if a.range.start > b.range.start { ((a, of_b), (b, of_a)) } else { ((b, of_a), (a, of_b)) };
    for (part, bytes) in [first, second] {
        image.edit(&part.file).splice(part.range.clone(), bytes);
    }
}

fn put_all(image: &mut Image, class: FileClass, from: &Image) {
    let is_of = |name: &str| FileClass::of(name) == class;
    let old: Vec<String> =
        image.files().map(|(name, _)| name.into()).filter(|name: &String| is_of(name)).collect();
    old.iter().for_each(|name| image.remove(name));
    for (name, bytes) in from.files().filter(|(name, _)| is_of(name)) {
        image.put(name, bytes.to_vec());
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}..{} of {}", self.what, self.range.start, self.range.end, self.file)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.edit {
            Edit::Write { file, at, bytes } => {
                write!(f, "{} of {file} at {at}, {} bytes", self.kind, bytes.len())
            }
            Edit::Flip { file, at, mask } => write!(f, "{file} at {at} ^ {mask:#04x}"),
            Edit::Truncate { file, bytes } => write!(f, "{file} ends at {bytes}"),
            Edit::Append { file, bytes } => {
                write!(f, "{file} goes on for {} bytes: {}", bytes.len(), self.kind)
            }
            Edit::Misdirect { from, to } => write!(f, "{from} was written over {to}"),
            Edit::Swap(a, b) => write!(f, "{a} and {b} changed places"),
            Edit::Put { file, with, of, .. } => write!(f, "{file} is {with} of {of}"),
            Edit::PutAll { class, of, .. } => write!(f, "all files of class {} are of {of}", class.name()),
            Edit::Remove { file } => write!(f, "{file} is missing"),
        }
    }
}

/// How much of all that can happen is tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Density {
    /// Every bit, every length, every pair. Of files beyond 64 KiB one bit of every seventh byte.
    All,
    /// Of each kind of damage to each file at most so many, chosen by the seed.
    AtMost(usize),
}

type Make<'a> = Box<dyn Fn(usize, &mut Rng) -> Edit + 'a>;

/// Damages of one kind that are alike: numbered, made when their turn comes.
struct Family<'a> {
    kind: &'static str,
    class: FileClass,
    count: usize,
    make: Make<'a>,
}

/// Everything that is to happen to a subject.
pub fn damages(subject: &Subject, density: Density, rng: &mut Rng) -> Vec<Damage> {
    let mut families = Vec::new();
    for (name, bytes) in subject.image.files() {
        families.extend(of_bytes(name, bytes));
        families.extend(of_files(subject, name, bytes));
    }
    families.extend(of_parts(subject));
    families.extend(of_directories(subject));
    families.iter().flat_map(|family| family.draw(density, rng)).collect()
}

impl Family<'_> {
    fn draw(&self, density: Density, rng: &mut Rng) -> Vec<Damage> {
        let chosen: Vec<usize> = match density {
            Density::AtMost(most) if self.count > most => (0..most).map(|_| rng.below(self.count)).collect(),
            _ => (0..self.count).collect(),
        };
        let damage = |index| Damage { kind: self.kind, class: self.class, edit: (self.make)(index, rng) };
        chosen.into_iter().map(damage).collect()
    }
}

/// Above this not every bit is tried.
const SMALL_BYTES: usize = 64 << 10;

/// Bytes of one file change, or its length does.
fn of_bytes<'a>(name: &'a str, bytes: &'a [u8]) -> Vec<Family<'a>> {
    let class = FileClass::of(name);
    let family = |kind, count, make: Make<'a>| Family { kind, class, count, make };
    let file = || name.to_owned();
    let len = bytes.len();
    let zero = |unit: usize| {
        move |index: usize, _: &mut Rng| Edit::Write {
            file: name.to_owned(),
            at: index * unit,
            bytes: vec![0; unit.min(len - index * unit)],
        }
    };
    let flips: Family<'a> = if len <= SMALL_BYTES {
        family(
            "flip",
            len * 8,
            Box::new(move |index, _| Edit::Flip { file: file(), at: index / 8, mask: 1 << (index % 8) }),
        )
    } else {
        family(
            "flip",
            len / 7,
            Box::new(move |index, rng| Edit::Flip { file: file(), at: index * 7, mask: 1 << rng.below(8) }),
        )
    };
    vec![
        flips,
        family(
            "two bytes",
            len.saturating_sub(1),
            Box::new(move |at, rng| {
                let garbage = [bytes[at] ^ (1 + rng.below(255) as u8), bytes[at + 1] ^ rng.below(256) as u8];
                Edit::Write { file: name.to_owned(), at, bytes: garbage.into() }
            }),
        ),
        family("zero 512", len.div_ceil(512), Box::new(zero(512))),
        family("zero 4096", len.div_ceil(4096), Box::new(zero(4096))),
        family(
            "garbage 512",
            len.div_ceil(512),
            Box::new(move |index, rng| {
                let at = index * 512;
                Edit::Write { file: name.to_owned(), at, bytes: rng.bytes(512.min(len - at)) }
            }),
        ),
        family("truncate", len, Box::new(move |bytes, _| Edit::Truncate { file: name.to_owned(), bytes })),
        family(
            "extend",
            6,
            Box::new(move |index, rng| {
                let tail = |most: usize| bytes[len.saturating_sub(most)..].to_vec();
                let more = match index {
                    0 => vec![0],
                    1 => vec![0; 4096],
                    2 => rng.bytes(37),
                    3 => rng.bytes(4096),
                    4 => tail(FOOTER_BYTES),
                    _ => tail(4096),
                };
                Edit::Append { file: name.to_owned(), bytes: more }
            }),
        ),
    ]
}

/// A file goes, or another one is in its place.
fn of_files<'a>(subject: &'a Subject, name: &'a str, bytes: &'a [u8]) -> Vec<Family<'a>> {
    let class = FileClass::of(name);
    let own = subject.image.files().map(|(with, bytes)| ("its own", with, bytes));
    let strange = subject.strangers.iter();
    let strange = strange.flat_map(|(of, image)| image.files().map(|(with, bytes)| (*of, with, bytes)));
    let others: Vec<_> = own
        .chain(strange)
        .filter(|(_, with, other)| FileClass::of(with) == class && *other != bytes)
        .collect();
    let count = others.len();
    let put = move |index: usize, _: &mut Rng| {
        let (of, with, bytes): (&'static str, &str, &[u8]) = others[index];
        Edit::Put { file: name.to_owned(), with: with.to_owned(), of, bytes: bytes.to_vec() }
    };
    let remove = move |_: usize, _: &mut Rng| Edit::Remove { file: name.to_owned() };
    vec![
        Family { kind: "another file", class, count, make: Box::new(put) },
        Family { kind: "missing", class, count: 1, make: Box::new(remove) },
    ]
}

/// Parts of files that are alike change places, or one is written over another.
fn of_parts(subject: &Subject) -> Vec<Family<'_>> {
    let mut parts: Vec<Part> = Vec::new();
    for (name, bytes) in subject.image.files() {
        let of_file = sections(name, bytes).into_iter();
        parts.extend(of_file.map(|section| Part {
            file: name.into(),
            what: section.what,
            range: section.range,
        }));
    }
    let mut families: Vec<Family<'_>> = Vec::new();
    for class in FileClass::READ {
        let mut pairs = Vec::new();
        for (index, a) in parts.iter().enumerate().filter(|(_, part)| FileClass::of(&part.file) == class) {
            let alike = parts[index + 1..].iter().filter(|b| b.what == a.what);
            let alike = alike.filter(|b| FileClass::of(&b.file) == class || a.what == "header");
            pairs.extend(alike.map(|b| (a.clone(), b.clone())));
        }
        let count = pairs.len();
        let (to_swap, to_move) = (pairs.clone(), pairs);
        families.push(Family {
            kind: "swap",
            class,
            count,
            make: Box::new(move |index, _| Edit::Swap(to_swap[index].0.clone(), to_swap[index].1.clone())),
        });
        families.push(Family {
            kind: "misdirect",
            class,
            count: 2 * count,
            make: Box::new(move |index, _| {
                let (a, b) = to_move[index / 2].clone();
                if index % 2 == 0 {
                    Edit::Misdirect { from: a, to: b }
                } else {
                    Edit::Misdirect { from: b, to: a }
                }
            }),
        });
    }
    families
}

/// Files of other directories beside ours, and in place of all of a class.
fn of_directories(subject: &Subject) -> Vec<Family<'_>> {
    let mut families: Vec<Family<'_>> = Vec::new();
    for (of, image) in &subject.strangers {
        let of: &'static str = of;
        for class in FileClass::READ {
            let added: Vec<(&str, &[u8])> = image
                .files()
                .filter(|(name, _)| FileClass::of(name) == class && subject.image.get(name).is_none())
                .collect();
            families.push(Family {
                kind: "beside",
                class,
                count: added.len(),
                make: Box::new(move |index, _| {
                    let (name, bytes) = added[index];
                    Edit::Put { file: name.into(), with: name.into(), of, bytes: bytes.to_vec() }
                }),
            });
            families.push(Family {
                kind: "all of a class",
                class,
                count: 1,
                make: Box::new(move |_, _| Edit::PutAll { class, of, image: image.clone() }),
            });
        }
    }
    families
}
