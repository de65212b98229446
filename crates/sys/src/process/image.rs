//! Where this program's code lies: addresses that mean the same in every process that runs the same file.
//!
//! The kernel loads a program at another address each time. What stays is the distance from the load address, which
//! the dynamic linker knows ([`offset_of`]); on the way back ([`address_of`]) the result must lie in one of the
//! program's executable segments. Shared libraries are loaded each for itself: their code has no such offset.

use core::ffi::{c_int, c_void};
use std::sync::OnceLock;

const SEGMENTS: usize = 8;

#[derive(Clone, Copy, Debug)]
struct Image {
    base: usize,
    /// Start and length, relative to the base; the unused ones are empty.
    code: [(usize, usize); SEGMENTS],
}

static IMAGE: OnceLock<Image> = OnceLock::new();

fn image() -> &'static Image {
    IMAGE.get_or_init(|| {
        let mut image = Image { base: 0, code: [(0, 0); SEGMENTS] };
        // SAFETY: `visit` fits the call's type, and gets a pointer to an Image of this frame, unused meanwhile.
        unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut image).cast()) };
        image
    })
}

/// Called for the program itself first, and stops there.
unsafe extern "C" fn visit(info: *mut libc::dl_phdr_info, _: usize, image: *mut c_void) -> c_int {
    let image = image.cast::<Image>();
    // SAFETY: `image()` passes a pointer to its own variable, which nobody else uses during the call.
    let image = unsafe { &mut *image };
    // SAFETY: the dynamic linker passes a pointer to a struct that it does not change during the call.
    let info = unsafe { &*info };
    #[allow(clippy::cast_possible_truncation, reason = "64 bits are a usize on every platform of ours")]
    let to_usize = |n: u64| n as usize;
    image.base = to_usize(info.dlpi_addr);
    // SAFETY: the linker gives the address and the number of the program headers, which stay mapped.
    let headers = unsafe { core::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let code = headers.iter().filter(|h| h.p_type == libc::PT_LOAD && h.p_flags & libc::PF_X != 0);
    for (slot, header) in image.code.iter_mut().zip(code) {
        *slot = (to_usize(header.p_vaddr), to_usize(header.p_memsz));
    }
    1
}

/// The offset of the code at `address` from the program's load address; `None` if it is not the program's own code.
///
/// ```
/// use polyproc_sys::process::image;
/// fn work() {}
/// let work: fn() = work;
/// let offset = image::offset_of(work as *const ()).unwrap();
/// assert_eq!(image::address_of(offset), Some(work as *const ()));
/// assert_eq!(image::offset_of(&raw const offset as *const ()), None); // data
/// ```
#[must_use]
pub fn offset_of(address: *const ()) -> Option<u64> {
    let offset = address.addr().wrapping_sub(image().base);
    is_code(offset).then_some(offset as u64)
}

/// The address of the program's code at `offset` from its load address; `None` if there is no code.
///
/// ```
/// use polyproc_sys::process::image;
/// assert_eq!(image::address_of(0), None); // the file's header
/// assert_eq!(image::address_of(u64::MAX), None);
/// ```
#[must_use]
pub fn address_of(offset: u64) -> Option<*const ()> {
    let offset = usize::try_from(offset).ok()?;
    is_code(offset).then(|| core::ptr::with_exposed_provenance(image().base.wrapping_add(offset)))
}

fn is_code(offset: usize) -> bool {
    image().code.iter().any(|(start, len)| offset.wrapping_sub(*start) < *len)
}
