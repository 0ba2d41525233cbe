//! Zstandard, with one decompression context per thread.

use super::{Codec, DecompressError};
use zstd::zstd_safe::{CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

/// The widest window accepted: 128 MiB, what Kafka's level 22 writes. The operating system backs
/// it page by page as output comes, and the output is limited.
const WINDOW_LOG_MAX: u32 = 27;
/// A frame with a window above this makes the context too large to keep.
const KEPT_OUTPUT_BYTES_MAX: usize = 8 * 1024 * 1024;

const MALFORMED: DecompressError = DecompressError::Malformed { codec: Codec::Zstd };

/// A thread's decompression context, made at first use.
#[derive(Default)]
pub(super) struct Context(Option<DCtx<'static>>);

impl Context {
    pub(super) fn decoder<'s, 'a>(
        &'s mut self,
        payload: &'a [u8],
    ) -> Result<Decoder<'s, 'a>, DecompressError> {
        if self.0.is_none() {
            let mut context = DCtx::try_create().ok_or(MALFORMED)?;
            context
                .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
                .map_err(|_| MALFORMED)?;
            self.0 = Some(context);
        }
        let context = self.0.as_mut().ok_or(MALFORMED)?;
        context.reset(ResetDirective::SessionOnly).map_err(|_| MALFORMED)?;
        Ok(Decoder { context, input: InBuffer::around(payload), in_frame: false })
    }

    /// Drops a context that a wide window has made large.
    pub(super) fn release_if_large(&mut self) {
        if self.0.as_ref().is_some_and(|context| context.sizeof() > KEPT_OUTPUT_BYTES_MAX) {
            self.0 = None;
        }
    }
}

/// Unpacks the frames of a payload.
pub(super) struct Decoder<'s, 'a> {
    context: &'s mut DCtx<'static>,
    input: InBuffer<'a>,
    in_frame: bool,
}

impl Decoder<'_, '_> {
    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, DecompressError> {
        let mut output = OutBuffer::around(out);
        loop {
            let is_input_used_up = self.input.pos >= self.input.src.len();
            if is_input_used_up && !self.in_frame {
                return Ok(0);
            }
            let wanted = self
                .context
                .decompress_stream(&mut output, &mut self.input)
                .map_err(|_| MALFORMED)?;
            self.in_frame = wanted != 0;
            if output.pos() > 0 {
                return Ok(output.pos());
            }
            if is_input_used_up {
                // The frame wants more input and there is none.
                return if self.in_frame { Err(MALFORMED) } else { Ok(0) };
            }
        }
    }
}

/// Appends `payload` as one frame.
pub(super) fn compress(payload: &[u8], level: Option<i32>, out: &mut Vec<u8>) {
    let mut context = CCtx::create();
    if let Some(level) = level {
        context
            .set_parameter(CParameter::CompressionLevel(level))
            .expect("zstd clamps levels to what it knows");
    }
    let mut packed = Vec::with_capacity(zstd::zstd_safe::compress_bound(payload.len()));
    context
        .compress2(&mut packed, payload)
        .expect("the buffer is as large as any frame of this size can get");
    out.extend_from_slice(&packed);
}
