//! The mask over what a client sends (RFC 6455, 5.3).

/// A key that nobody can foretell, a new one for every frame.
#[cold]
pub(super) fn fresh_key() -> [u8; 4] {
    rand::random()
}

/// Applies `mask` to `bytes`, the first of which is at `offset` of the payload.
#[inline]
pub(super) fn apply(bytes: &mut [u8], mask: [u8; 4], offset: usize) {
    let mut key = mask;
    key.rotate_left(offset % 4);
    let word = u32::from_ne_bytes(key);
    let wide = u64::from(word) << 32 | u64::from(word);
    let (eights, rest) = bytes.as_chunks_mut::<8>();
    for eight in eights {
        *eight = (u64::from_ne_bytes(*eight) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(wide.to_ne_bytes()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_meets_its_byte_of_the_mask() {
        let mask = [0x11, 0x22, 0x44, 0x88];
        for length in 0..40 {
            for offset in 0..8 {
                let plain: Vec<u8> = (0..length).collect();
                let mut masked = plain.clone();
                apply(&mut masked, mask, offset);
                let expected: Vec<u8> =
                    plain.iter().enumerate().map(|(i, byte)| byte ^ mask[(offset + i) % 4]).collect();
                assert_eq!(masked, expected, "length {length}, offset {offset}");
            }
        }
    }
}
