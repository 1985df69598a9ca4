//! Small parts of the records that an upgrade hands over, for the types that are in them.

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};

/// Whether a field has its default value, and need not be written.
pub fn is_unset<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Writes counters as a map by word of those that are not 0.
pub fn encode_counters<W: Write>(
    words: impl Iterator<Item = &'static str>,
    counters: &[u64],
    encoder: &mut Encoder<W>,
) -> Result<(), encode::Error<W::Error>> {
    encoder.map(counters.iter().filter(|&&count| count > 0).count() as u64)?;
    for (word, &count) in words.zip(counters).filter(|(_, count)| **count > 0) {
        encoder.str(word)?.u64(count)?;
    }
    Ok(())
}

/// Reads them. What another version counts and this one does not is left out.
pub fn decode_counters<const N: usize>(
    words: impl Iterator<Item = &'static str> + Clone,
    decoder: &mut Decoder<'_>,
) -> Result<[u64; N], decode::Error> {
    let mut counters = [0; N];
    for entry in decoder.map_iter::<&str, u64>()? {
        let (word, count) = entry?;
        if let Some(index) = words.clone().position(|known| known == word) {
            counters[index] = count;
        }
    }
    Ok(counters)
}
