//! Damages bytes the way wires, bugs and liars do.

use crate::chance::Chance;

/// Bytes that mean something to varints, counts, flags and timestamps.
const TELLING: [&[u8]; 14] = [
    &[0],
    &[1],
    &[0x7f],
    &[0x80],
    &[0xff],
    &[0xff, 0xff, 0xff, 0xff],
    &[0x7f, 0xff, 0xff, 0xff],
    &[0x80, 0, 0, 0],
    &[0, 0, 0, 0],
    &[0x00, 0x10, 0x00, 0x00],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    &[0x80, 0x80, 0x80, 0x80, 0x08],
    &[0x80, 0x20, 0xc4, 0x9b, 0xa5, 0xe3, 0x53, 0xf8],
];

/// The most bytes that mutations grow an input to, so that growth does not feed on itself.
const GROWN_MAX: usize = 1 << 16;

/// Changes `bytes` in one to four places.
pub fn mutate_bytes(bytes: &mut Vec<u8>, random: &mut Chance) {
    for _ in 0..=random.below(4) {
        mutate_once(bytes, random);
    }
}

fn mutate_once(bytes: &mut Vec<u8>, random: &mut Chance) {
    let at = random.below(bytes.len() as u64 + 1) as usize;
    let until = at + random.below((bytes.len() - at).min(32) as u64 + 1) as usize;
    match random.below(8) {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = random.number() as u8;
            }
        }
        2 => drop(bytes.drain(at..until)),
        3 => bytes.truncate(at),
        4 if bytes.len() < GROWN_MAX => {
            let copy = bytes[at..until].to_vec();
            bytes.splice(at..at, copy);
        }
        5 if bytes.len() < GROWN_MAX => {
            let telling = TELLING[random.below(TELLING.len() as u64) as usize];
            bytes.splice(at..at, telling.iter().copied());
        }
        6 => {
            let telling = TELLING[random.below(TELLING.len() as u64) as usize];
            for (byte, new) in bytes[at..].iter_mut().zip(telling) {
                *byte = *new;
            }
        }
        _ if bytes.len() < GROWN_MAX => {
            let random: Vec<u8> = (0..random.below(9)).map(|_| random.number() as u8).collect();
            bytes.splice(at..at, random);
        }
        _ => {}
    }
}
