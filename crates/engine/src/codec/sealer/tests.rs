//! Ciphers against published vectors, both libraries against each other, and what must not open.

use super::*;
use crate::codec::{
    BlockKind, Cipher, Compression, FileCodec, FileKind, KeyError, KeyId, KeyProvider, Keyring, Owner,
    Record, RecordReader, Section, Step, decode_block, encode_block, encode_record,
};
use crate::error::ErrorKind;
use alloc::{sync::Arc, vec, vec::Vec};
use core::sync::atomic::{AtomicU64, Ordering};
use isopach_env::{CreateOptions, File, Fs, MemFs, WriteOrigin};

const DATABASE: Uuid = Uuid([2; 16]);
const FILE: Uuid = Uuid([1; 16]);

struct OneKey(u64, [u8; 32]);

impl KeyProvider for OneKey {
    fn current(&self) -> Result<KeyId, KeyError> {
        Ok(KeyId(self.0))
    }

    fn key(&self, id: KeyId) -> Result<Secret, KeyError> {
        if id.0 == self.0 { Ok(Secret::new(self.1)) } else { Err(KeyError::Missing) }
    }
}

fn owner(cipher: Cipher) -> Owner {
    Owner { database: DATABASE, keys: Keyring::new(OneKey(7, [9; 32]), cipher) }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

type Seals = dyn Fn(&[u8; NONCE_BYTES], &[u8], &mut [u8]) -> [u8; TAG_BYTES];
type Opens = dyn Fn(&[u8; NONCE_BYTES], &[u8], &mut [u8], &[u8; TAG_BYTES]) -> bool;

/// A library that is compiled in, with a key.
struct Library {
    seal: Box<Seals>,
    open: Box<Opens>,
}

macro_rules! library {
    ($of:ident, $cipher:expr, $key:expr) => {{
        let (seals, opens) = ($of::Key::new($cipher, $key), $of::Key::new($cipher, $key));
        Library {
            seal: Box::new(move |nonce, context, bytes| seals.seal(nonce, context, bytes)),
            open: Box::new(move |nonce, context, bytes, tag| opens.open(nonce, context, bytes, tag)),
        }
    }};
}

/// All that are compiled in.
fn libraries(cipher: Cipher, key: &[u8; KEY_BYTES]) -> Vec<Library> {
    vec![
        library!(portable, cipher, key),
        #[cfg(feature = "encryption")]
        library!(native, cipher, key),
    ]
}

/// AES-256-GCM: test case 16 of "The Galois/Counter Mode of Operation" (McGrew, Viega 2005). ChaCha20-Poly1305: section
/// 2.8.2 of RFC 8439.
#[test]
fn ciphers_give_what_their_specifications_say() {
    let plain = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525\
                 b16aedf5aa0de657ba637b39";
    let sunscreen =
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
                      sunscreen would be it.";
    let counting: Vec<u8> = (0x80..0xa0).collect();
    let vectors = [
        (
            Cipher::Aes256Gcm,
            bytes_of("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"),
            bytes_of("cafebabefacedbaddecaf888"),
            bytes_of("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
            bytes_of(plain),
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838\
             c5f61e6393ba7a0abcc9f662",
            "76fc6ece0f4e1768cddf8853bb2d551b",
        ),
        (
            Cipher::ChaCha20Poly1305,
            counting,
            bytes_of("070000004041424344454647"),
            bytes_of("50515253c0c1c2c3c4c5c6c7"),
            sunscreen.to_vec(),
            "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b\
             1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc\
             3ff4def08e4b7a9de576d26586cec64b6116",
            "1ae10b594f09e26a7e902ecbd0600691",
        ),
    ];
    for (cipher, key, nonce, context, plain, sealed, tag) in vectors {
        let (sealed, tag) = (bytes_of(sealed), bytes_of(tag));
        let nonce = nonce.try_into().unwrap();
        for library in libraries(cipher, &key.try_into().unwrap()) {
            let mut bytes = plain.clone();
            let found = (library.seal)(&nonce, &context, &mut bytes);

            assert_eq!((&bytes, &found[..]), (&sealed, &tag[..]), "{cipher:?}");
            assert!((library.open)(&nonce, &context, &mut bytes, &found));
            assert_eq!(bytes, plain);
            let mut bytes = sealed.clone();
            assert!(!(library.open)(&nonce, b"another context", &mut bytes, &found), "{cipher:?}");
        }
    }
}

/// Test case 1 of RFC 5869, appendix A.
#[test]
fn key_derivation_gives_what_its_specification_says() {
    let salt = bytes_of("000102030405060708090a0b0c");
    let mut okm = [0; 42];
    Hkdf::<Sha256>::new(Some(&salt), &[0x0b; 22])
        .expand(&bytes_of("f0f1f2f3f4f5f6f7f8f9"), &mut okm)
        .unwrap();
    let expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
    assert_eq!(okm[..], bytes_of(expected));
}

#[test]
fn both_libraries_make_the_same_bytes_of_every_length() {
    for cipher in [Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305] {
        let libraries = libraries(cipher, &[3; 32]);
        for len in (0..300).chain([4_095, 4_096, 16_384, 70_001]) {
            let plain: Vec<u8> = (0..len).map(|at| (at * 7) as u8).collect();
            let made = libraries.iter().map(|library| {
                let mut bytes = plain.clone();
                let tag = (library.seal)(&nonce(len as u64), &[1, 2, 3], &mut bytes);
                (bytes, tag)
            });
            let made: Vec<_> = made.collect();
            assert!(made.windows(2).all(|two| two[0] == two[1]), "{cipher:?}, {len} bytes");
        }
    }
}

#[test]
fn a_sealed_block_opens_where_it_was_written_and_shows_no_plaintext() {
    for cipher in [Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305] {
        let (header, codec) = owner(cipher).new_file(FileKind::Table, FILE).unwrap();
        let again = owner(cipher).codec(&header, "it").unwrap();
        let parts = [&b"a secret key section"[..], &[b'v'; 4_000], b""];
        let sections = parts.map(|raw| Section { raw, compression: Compression::None });
        let mut frame = Vec::new();

        encode_block(&mut frame, BlockKind::Data, &codec, 64, &sections);

        assert!(!frame.windows(8).any(|bytes| bytes == b"a secret" || bytes == [b'v'; 8]));
        let opened = decode_block(&frame, BlockKind::Data, &again, 64).unwrap();
        assert_eq!(opened, parts.map(Vec::from));
    }
}

/// Checksums are no secret: whoever alters a file makes them right again. Only the seal tells then.
#[test]
fn what_was_altered_moved_or_relabelled_does_not_open() {
    let keys = owner(Cipher::Aes256Gcm);
    let (header, codec) = keys.new_file(FileKind::Table, FILE).unwrap();
    let FileCodec { sealing, .. } = &codec;
    let mut sealed = b"some content".to_vec();
    sealing.seal(&mut sealed, 0, 640, b"context");

    assert_eq!(&*sealing.open(&sealed[..], 640, b"context").unwrap(), b"some content");
    for bit in 0..sealed.len() * 8 {
        let mut altered = sealed.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(sealing.open(altered, 640, b"context").is_err(), "bit {bit}");
    }
    for len in 0..sealed.len() {
        assert!(sealing.open(&sealed[..len], 640, b"context").is_err(), "{len} bytes");
    }
    assert!(sealing.open(&sealed[..], 648, b"context").is_err(), "at another place");
    assert!(sealing.open(&sealed[..], 640, b"kontext").is_err(), "in another context");

    let opens_as = |changed: FileHeader| {
        let codec = keys.codec(&changed, "it").unwrap();
        codec.sealing.open(&sealed[..], 640, b"context").is_ok()
    };
    let seal = header.seal.unwrap();
    assert!(opens_as(header));
    assert!(!opens_as(FileHeader { file: Uuid([3; 16]), ..header }), "in another file");
    assert!(!opens_as(FileHeader { kind: FileKind::Blob, ..header }), "in a file of another kind");
    let downgraded = Seal { cipher: Cipher::ChaCha20Poly1305, ..seal };
    assert!(!opens_as(FileHeader { seal: Some(downgraded), ..header }), "by another cipher");
}

#[test]
fn a_missing_key_and_a_wrong_one_are_told_before_anything_is_opened() {
    let (header, _) = owner(Cipher::Aes256Gcm).new_file(FileKind::Table, FILE).unwrap();
    let kind = |keys: Keyring| keys.codec(&header).unwrap_err().kind();

    assert_eq!(kind(Keyring::none()), ErrorKind::MissingKey);
    assert_eq!(kind(Keyring::new(OneKey(8, [9; 32]), Cipher::Aes256Gcm)), ErrorKind::MissingKey);
    assert_eq!(kind(Keyring::new(OneKey(7, [8; 32]), Cipher::Aes256Gcm)), ErrorKind::WrongKey);
    let elsewhere = FileHeader { database: Uuid([4; 16]), ..header };
    let keys = Keyring::new(OneKey(7, [9; 32]), Cipher::Aes256Gcm);
    assert_eq!(keys.codec(&elsewhere).unwrap_err().kind(), ErrorKind::WrongKey, "of another database");
}

#[test]
fn a_record_that_was_forged_with_its_checksums_is_altered_and_not_the_end() {
    let (_, codec) = owner(Cipher::Aes256Gcm).new_file(FileKind::Log, FILE).unwrap();
    let record = |payload| Record { kind: 2, synced_upto: crate::codec::LogPosition::START, payload };
    let (mut log, forged_at) = (Vec::new(), codec.record_bytes(5));
    encode_record(&mut log, &codec, 0, record(b"first"));
    let forger = FileCodec::clear(FILE); // Who knows the file's uuid knows the salt.
    encode_record(&mut log, &forger, forged_at, record(&[0; 40]));
    let fs = MemFs::new();
    let file: Arc<dyn File> = fs.create("log", &CreateOptions::new(WriteOrigin::Log)).unwrap();
    file.write_at(0, &log).unwrap();

    let mut reader = RecordReader::new(file, codec, 0, log.len() as u64);

    assert!(matches!(reader.step().unwrap(), Step::Record { payload: b"first", .. }));
    assert!(matches!(reader.step().unwrap(), Step::Altered { offset, .. } if offset == forged_at));
}

#[test]
fn keys_show_nowhere() {
    assert_eq!(alloc::format!("{:?}", Secret::new([0x41; 32])), "Secret(..)");
    assert_eq!(alloc::format!("{:?}", owner(Cipher::Aes256Gcm).keys), "Keyring(..)");
}

/// Says what it is told to.
struct Told(AtomicU64);

impl KeyProvider for Told {
    fn current(&self) -> Result<KeyId, KeyError> {
        match self.0.load(Ordering::Relaxed) {
            666 => panic!("a provider that panics"),
            id => Ok(KeyId(id)),
        }
    }

    fn key(&self, id: KeyId) -> Result<Secret, KeyError> {
        if id.0 < 3 { Ok(Secret::new([id.0 as u8; 32])) } else { Err(KeyError::Unavailable("away".into())) }
    }
}

#[test]
fn a_key_that_is_not_to_be_had_and_none_at_all_leave_the_one_before_in_use() {
    let told = Arc::new(Told(AtomicU64::new(9)));
    let keys = Keyring::new(Arc::clone(&told), Cipher::Aes256Gcm);
    let say = |id| told.0.store(id, Ordering::Relaxed);
    let current = || keys.current(DATABASE).map(|seal| seal.map(|seal| seal.key.0));

    assert_eq!(current().unwrap_err().kind(), ErrorKind::MissingKey, "there is none before");
    say(666);
    assert_eq!(current().unwrap_err().kind(), ErrorKind::MissingKey);
    say(0);
    assert_eq!(current().unwrap(), None, "it is not encrypted");
    for (said, used) in [(1, 1), (9, 1), (666, 1), (0, 1), (2, 2), (0, 2)] {
        say(said);
        assert_eq!(current().unwrap(), Some(used), "{said} was said");
    }
}
