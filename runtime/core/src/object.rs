//! A shared object in memory: written to a sealed memfd, then opened by the dynamic loader.

use std::io;

/// A loaded object. Its code stays mapped while this lives.
#[derive(Debug)]
pub(crate) struct Object {
    library: libloading::Library,
    /// Open as long as the library: the loader knows it by the descriptor's number, which must not be reused.
    #[cfg(target_os = "linux")]
    #[expect(dead_code, reason = "held open, see above")]
    file: std::os::fd::OwnedFd,
}

impl Object {
    /// Loads an ELF shared object from its bytes.
    ///
    /// # Safety
    ///
    /// Loading runs the object's initialisers: the bytes are trusted code for this machine.
    #[cfg(target_os = "linux")]
    pub(crate) unsafe fn load(bytes: &[u8]) -> io::Result<Object> {
        use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
        use std::os::fd::AsRawFd;
        let file = sealed(bytes)?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        // SAFETY: the caller trusts the code.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }
            .map_err(io::Error::other)?;
        Ok(Object {
            library: library.into(),
            file,
        })
    }

    /// Loads a shared object from its bytes; only Linux can.
    ///
    /// # Safety
    ///
    /// None needed here.
    #[cfg(not(target_os = "linux"))]
    pub(crate) unsafe fn load(_bytes: &[u8]) -> io::Result<Object> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "code in artifacts is loaded on Linux only",
        ))
    }

    /// The symbol's address as a `T`.
    ///
    /// # Safety
    ///
    /// `T` is the symbol's type, and its value is not used after the object is gone.
    pub(crate) unsafe fn symbol<T: Copy>(&self, name: &str) -> Option<T> {
        // SAFETY: by the caller's promise.
        unsafe { self.library.get::<T>(name.as_bytes()) }
            .ok()
            .map(|symbol| *symbol)
    }
}

/// An anonymous file that holds `bytes` and can no longer change.
#[cfg(target_os = "linux")]
fn sealed(bytes: &[u8]) -> io::Result<std::os::fd::OwnedFd> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    use std::io::Write;
    let fd = memfd_create("optc", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = std::fs::File::from(fd);
    file.write_all(bytes)?;
    fcntl_add_seals(
        &file,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )?;
    Ok(file.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_object_is_an_error() {
        // SAFETY: neither holds code.
        assert!(unsafe { Object::load(b"") }.is_err());
        // SAFETY: as above.
        assert!(unsafe { Object::load(&[0x7f; 4096]) }.is_err());
    }
}
