//! Compressed sections: `SHF_COMPRESSED` with zlib or zstd (System V ABI), and GNU's older `.zdebug_*`.

use std::io::Read;

use btf::Endian;

use super::image::{Class, Fields};

const ELFCOMPRESS_ZLIB: u32 = 1;
const ELFCOMPRESS_ZSTD: u32 = 2;

/// A section that starts with `Elf32_Chdr` or `Elf64_Chdr`.
pub(super) fn elf(bytes: &[u8], class: Class, endian: Endian, limit: u64) -> Result<Vec<u8>, String> {
    let header_len = if class == Class::Elf64 { 24 } else { 12 };
    let (header, payload) =
        bytes.split_at_checked(header_len).ok_or("the compression header is truncated")?;
    let fields = Fields { bytes: header, class, endian };
    let size = match class {
        Class::Elf64 => fields.u64(8),
        Class::Elf32 => fields.u32(4).into(),
    };
    match fields.u32(0) {
        ELFCOMPRESS_ZLIB => inflate(payload, size, limit),
        ELFCOMPRESS_ZSTD => {
            let decoder =
                zstd::stream::read::Decoder::with_buffer(payload).map_err(|error| error.to_string())?;
            take_exactly(decoder, size, limit)
        }
        other => Err(format!("compression type {other} is unknown")),
    }
}

/// A `.zdebug_*` section: `ZLIB`, the size as a big-endian word of 8 bytes, and a zlib stream.
pub(super) fn gnu(bytes: &[u8], limit: u64) -> Result<Vec<u8>, String> {
    let (header, payload) = bytes.split_first_chunk::<12>().ok_or("the compression header is truncated")?;
    let (b"ZLIB", size) = header.split_first_chunk::<4>().ok_or("the compression header is truncated")?
    else {
        return Err("it does not start with ZLIB".into());
    };
    let size = size.iter().fold(0, |size, &byte| size << 8 | u64::from(byte));
    inflate(payload, size, limit)
}

fn inflate(payload: &[u8], size: u64, limit: u64) -> Result<Vec<u8>, String> {
    take_exactly(flate2::bufread::ZlibDecoder::new(payload), size, limit)
}

/// Reads `size` bytes, no more and no fewer. Memory grows with what is really there, not with what the header claims.
fn take_exactly(decoder: impl Read, size: u64, limit: u64) -> Result<Vec<u8>, String> {
    if size > limit {
        return Err(format!("{size} bytes decompressed are over the limit of {limit}"));
    }
    let mut bytes = Vec::new();
    decoder
        .take(size + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("it does not decompress: {error}"))?;
    if bytes.len() as u64 != size {
        return Err(format!("it decompresses to another size than the {size} bytes that its header says"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn gnu_section(size: u64, payload: &[u8]) -> Vec<u8> {
        [b"ZLIB".as_slice(), &size.to_be_bytes(), payload].concat()
    }

    /// Check that a section must decompress to exactly the size it says, within the limit.
    #[test]
    fn gnu_sizes() {
        let content = vec![7; 10_000];
        let payload = zlib(&content);
        assert_eq!(gnu(&gnu_section(10_000, &payload), 10_000).unwrap(), content);
        for (size, limit) in [(9_999, 1 << 20), (10_001, 1 << 20), (10_000, 9_999), (u64::MAX, u64::MAX - 1)]
        {
            assert!(gnu(&gnu_section(size, &payload), limit).is_err(), "{size} {limit}");
        }
        assert!(gnu(&gnu_section(10_000, &payload[..payload.len() / 2]), 1 << 20).is_err());
        assert!(gnu(b"ZLIB", 1 << 20).is_err());
    }

    /// Check both compression types of the ABI, both classes and both byte orders.
    #[test]
    fn elf_headers() {
        let content: Vec<u8> = (0..5000u32).flat_map(u32::to_le_bytes).collect();
        let zstd = zstd::stream::encode_all(content.as_slice(), 3).unwrap();
        for (kind, payload) in [(1u32, zlib(&content)), (2, zstd)] {
            let size = content.len() as u32;
            let big32 = [kind.to_be_bytes(), size.to_be_bytes(), [0; 4]].concat();
            let little64 = [kind.to_le_bytes(), [0; 4], size.to_le_bytes(), [0; 4], [0; 4], [0; 4]].concat();
            let section = [big32, payload.clone()].concat();
            assert_eq!(elf(&section, Class::Elf32, Endian::Big, 1 << 20).unwrap(), content);
            let section = [little64, payload].concat();
            assert_eq!(elf(&section, Class::Elf64, Endian::Little, 1 << 20).unwrap(), content);
            assert!(elf(&section, Class::Elf64, Endian::Big, 1 << 20).is_err());
        }
    }
}
