//! The file of a dictionary byte by byte, damage to it, and what is judged to be worth one.

use super::{trial::*, *};
use crate::codec::{FileDictionary, WritingDictionary, golden::assert_golden};
use alloc::{sync::Arc, vec};

const DATABASE: Uuid = Uuid(*b"\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f");
const NAME: &str = "dictionaries/some.dict";

fn encoded(content: &[u8], saved_permille: u16) -> Vec<u8> {
    let file = uuid_of(Dictionary::id_of(content));
    let header = FileHeader::clear(FileKind::Dictionary, file, DATABASE);
    encode_parts(content, saved_permille, &header, &FileCodec::clear(file))
}

#[test]
fn a_dictionary_file_is_as_documented() {
    let bytes = encoded(b"{\"name\":\"", 250);

    assert_golden("dictionary", include_str!("../../testdata/golden/dictionary.hex"), &bytes);
    let (content, saved, header) = decode_parts(&bytes, NAME, &Keyring::none()).unwrap();
    assert_eq!((&content[..], saved, header.database), (&b"{\"name\":\""[..], 250, DATABASE));
}

#[test]
fn a_damaged_dictionary_file_is_refused_and_named() {
    let bytes = encoded(b"some bytes in common", 250);

    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            decode_parts(&damaged, NAME, &Keyring::none()).unwrap_err().file(),
            Some(NAME),
            "bit {bit}"
        );
    }
    for len in 0..bytes.len() {
        assert!(decode_parts(&bytes[..len], NAME, &Keyring::none()).is_err(), "{len} bytes");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(decode_parts(&longer, NAME, &Keyring::none()).is_err(), "every byte belongs to the file");
}

#[test]
fn a_sound_file_whose_content_is_no_dictionary_is_refused() {
    let bytes = encoded(b"not trained", 250);

    assert_eq!(decode_file(&bytes, NAME, &Keyring::none()).unwrap_err().kind(), ErrorKind::Corruption);
}

#[test]
fn a_file_name_says_which_dictionary_it_is_and_other_names_are_not_ours() {
    let id = DictionaryId(0x0fef_eeed_eceb_eae9);
    let name = file_name(id);

    assert_eq!(name, "dictionaries/0fefeeedecebeae9.dict");
    assert_eq!(id_of(&name), Some(id));
    for other in [
        "dictionaries/0fefeeedecebeae9",
        "dictionaries/0FEFEEEDECEBEAE9.dict",
        "dictionaries/fefeeedecebeae9.dict",
        "dictionaries/+fefeeedecebeae9.dict",
        "dictionaries/00fefeeedecebeae9.dict",
        "tables/0fefeeedecebeae9.dict",
    ] {
        assert_eq!(id_of(other), None, "{other}");
    }
}

#[test]
fn a_handle_is_read_as_it_was_written_and_one_of_an_impossible_size_is_refused() {
    let handle = DictionaryHandle { id: DictionaryId(7), bytes: 16_500 };

    assert_eq!(DictionaryHandle::decode(handle.encode()), Ok(handle));
    for bytes in [0, 63, MAX_FILE_BYTES + 1, u64::MAX] {
        assert!(DictionaryHandle::decode(DictionaryHandle { bytes, ..handle }.encode()).is_err(), "{bytes}");
    }
}

#[test]
fn a_dictionary_pays_if_it_saves_a_twentieth_beyond_its_own_file() {
    let trial = Trial { raw_bytes: 1_000, without_bytes: 500, with_bytes: 400 };

    assert_eq!(trial.saved_permille(), 200);
    assert!(trial.pays(10_000, 0));
    assert!(trial.pays(10_000, 750), "5,000 bytes become 4,000 and 750");
    assert!(!trial.pays(10_000, 751));
    let hardly = Trial { with_bytes: 476, ..trial };
    assert!(!hardly.pays(1 << 40, 0), "less than a twentieth, however much is written");
    let worse = Trial { with_bytes: 600, ..trial };
    assert_eq!((worse.saved_permille(), worse.pays(10_000, 0)), (0, false));
}

#[test]
fn a_dictionary_is_as_good_as_in_training_down_to_three_quarters_of_what_it_saved() {
    let saving =
        |permille: u64| Trial { raw_bytes: 1_000, without_bytes: 1_000, with_bytes: 1_000 - permille };

    assert!(saving(150).is_as_good_as_in_training(200));
    assert!(!saving(149).is_as_good_as_in_training(200));
    assert!(saving(250).is_clearly_better_than(&saving(200)));
    assert!(!saving(249).is_clearly_better_than(&saving(200)));
}

/// The same records in other orders of fields say the same.
fn record(number: u64) -> Vec<u8> {
    let hash = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let (name, city) = (["Ada", "Grace", "Edsger"][hash as usize % 3], ["Rome", "Oslo"][number as usize % 2]);
    format!(
        "{{\"id\":{number},\"name\":\"{name}\",\"city\":\"{city}\",\"visits\":{},\"active\":true}}",
        hash >> 50
    )
    .into_bytes()
}

fn samples(of: impl Fn(u64) -> Vec<u8>) -> Samples {
    let mut samples = Samples::new(1 << 20);
    for block in 0..64 {
        let pages: Vec<Vec<u8>> =
            (0..4).map(|page| (0..8).flat_map(|at| of((block * 4 + page) * 8 + at)).collect()).collect();
        samples.add_block(pages.iter().map(Vec::as_slice));
    }
    samples
}

const ZSTD: Compression = Compression::Zstd { level: 3 };

#[test]
fn similar_pages_train_a_dictionary_that_is_read_back_as_it_was_tried() {
    let Some((dictionary, trial)) = samples(record).train(ZSTD, 4 << 10) else {
        assert!(!ZSTD.is_available(), "similar pages have something in common");
        return;
    };

    assert!(trial.saved_permille() > 200, "{trial:?}");
    assert_eq!(dictionary.saved_permille(), trial.saved_permille());
    let (bytes, _) = encode_file(&dictionary, Uuid::default(), DATABASE).unwrap();
    assert_eq!(bytes.len() as u64, file_bytes(&dictionary, false));
    let (read, header) = decode_file(&bytes, NAME, &Keyring::none()).unwrap();
    assert_eq!(
        (read.id(), read.saved_permille(), header.database),
        (dictionary.id(), trial.saved_permille(), DATABASE)
    );

    let writing = WritingDictionary::new(&dictionary, ZSTD).unwrap();
    let page: Vec<u8> = (9_000..9_010).flat_map(record).collect();
    let (codec, packed) = ZSTD.compress_in(&page, &FileDictionary::Writing(Arc::new(writing)));
    assert_eq!(codec, Codec::ZstdDictionary);
    let reading = FileDictionary::Reading(Arc::new(read));
    assert_eq!(codec.decompress_in(packed.to_vec(), page.len(), &reading).unwrap(), page);
    assert!(codec.decompress(packed.to_vec(), page.len()).is_err(), "not without the dictionary");
}

#[test]
fn random_pages_make_no_dictionary_that_pays() {
    let noise = |number: u64| {
        let mut z = number;
        let word = |_| {
            z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let x = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            ((x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 7) as u8
        };
        (0..100).map(word).collect()
    };

    let trained = samples(noise).train(ZSTD, 4 << 10);

    assert!(trained.is_none_or(|(_, trial)| !trial.pays(1 << 30, 0)));
}

#[test]
fn too_few_blocks_train_nothing_and_samples_are_bounded() {
    let mut few = Samples::new(1 << 20);
    for block in 0..7 {
        few.add_block([&record(block)[..]]);
    }
    assert!(few.train(ZSTD, 1 << 10).is_none());

    let mut bounded = Samples::new(1_000);
    bounded.add_block([&[1; 600][..], &[2; 400], &[3; 1]]);
    assert_eq!((bounded.bytes(), bounded.is_full()), (1_000, true));
    let mut cut = Samples::new(1_000);
    cut.add_block([&[1; 600][..], &[2; 401]]);
    assert_eq!((cut.bytes(), cut.is_full()), (600, true), "a page that does not fit is the end");
    assert_eq!(vec![bounded.blocks(), cut.blocks()], [1, 1]);
}
