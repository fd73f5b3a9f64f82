//! Target for parity: hostile ends of files, and damage to what has parity.

use super::place_of;
use isopach::engine::codec::{Corrector, Corruption, Parity, ParityTail, ParityWriter, Rescue};
use isopach::env::{Fs, OpenMode};
use std::sync::Arc;

const NAME: &str = "it";

/// Three bytes of a scheme, a count of damages of four bytes each, and a content: whatever is damaged, what is restored is the
/// content or nothing. Then all of it as a file with parity, which it hardly is.
pub(super) fn parity(data: &[u8]) {
    let Some((scheme, rest)) = data.split_first_chunk::<3>() else { return };
    let scheme = Parity::from_raw(*scheme);
    if let Some((&damages, rest)) = rest.split_first()
        && scheme != Parity::None
        && scheme.is_available()
    {
        let (damages, content) = rest.split_at(rest.len().min(usize::from(damages % 8) * 4));
        restored(scheme, damages.chunks_exact(4), content);
    }
    hostile(data);
}

fn restored<'a>(scheme: Parity, damages: impl Iterator<Item = &'a [u8]>, content: &[u8]) {
    let mut writer = ParityWriter::new(scheme);
    writer.write(content);
    let mut file = [content, &writer.finish()].concat();
    assert_eq!(file.len() as u64, content.len() as u64 + scheme.trailer_bytes(content.len() as u64));
    let mut bits = 0;
    for damage in damages {
        bits += damage[3].count_ones();
        let at = usize::from(u16::from_le_bytes([damage[0], damage[1]])) * usize::from(damage[2].max(1));
        let at = at % file.len();
        file[at] ^= damage[3];
    }
    let fs: Arc<dyn Fs> = Arc::new(place_of([(NAME, &*file)]));
    let opened = fs.open(NAME, OpenMode::Read).expect("it is there");
    let corrector = Corrector::new(&opened, scheme, content.len() as u64, Rescue::default());
    let corrector = corrector.expect("the scheme is available");
    let check = |bytes: &[u8]| if bytes == content { Ok(()) } else { Err(Corruption("other bytes")) };
    // Who finds the content sound does not ask for more: parity may be what is damaged.
    let is_sound = check(&file[..content.len()]).is_ok();
    let is_restored = is_sound || corrector.retry(0..content.len() as u64, check).is_some();
    corrector.walk(&mut |_| {});
    assert!(is_restored || bits > 1 || content.is_empty(), "one bit is within every budget");
}

fn hostile(data: &[u8]) {
    let Some(tail) = data.last_chunk() else { return };
    let told = ParityTail::decode(tail, data.len() as u64).ok().map(|tail| (tail.parity, tail.content_bytes));
    let scheme = data.first_chunk().map(|scheme| Parity::from_raw(*scheme));
    let guessed = scheme.map(|scheme| (scheme, data.len() as u64 / 2));
    let fs: Arc<dyn Fs> = Arc::new(place_of([(NAME, data)]));
    let opened = fs.open(NAME, OpenMode::Read).expect("it is there");
    for (scheme, content_bytes) in told.into_iter().chain(guessed) {
        let Some(corrector) = Corrector::new(&opened, scheme, content_bytes, Rescue::default()) else {
            continue;
        };
        let _ = corrector.header();
        let _ = corrector.retry(0..content_bytes, |_| Err::<(), _>(Corruption("never")));
        corrector.walk(&mut |_| {});
    }
}
