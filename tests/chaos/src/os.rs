//! The three things that only the system can do and the standard library has no form for.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Header of every packet read or written: flags and the protocol (linux/if_tun.h, without `IFF_NO_PI`).
const NO_HEADER: libc::c_short = 0x1000;
const TUN: libc::c_short = 0x0001;
/// `_IOW('T', 202, int)`.
const SET_INTERFACE: libc::c_ulong = 0x4004_54ca;
/// `_IOR('X', 125, __u32)`: ext4 stops writing at once.
const EXT4_SHUTDOWN: libc::c_ulong = 0x8004_587d;
/// Nothing that is not on disk gets there any more, the journal included (`EXT4_GOING_FLAGS_NOLOGFLUSH`).
const WITHOUT_FLUSH: u32 = 2;

/// Puts the calling thread, and every thread and process it starts from now on, into a network namespace made with `ip netns`.
///
/// # Errors
///
/// When there is none of that name, or this needs rights we lack.
pub fn enter(namespace: &str) -> io::Result<()> {
    enter_file(&File::open(Path::new("/run/netns").join(namespace))?)
}

/// Runs something on a thread in another network namespace.
///
/// # Errors
///
/// As [`enter`], and whatever `work` says.
pub fn within<T: Send>(namespace: &str, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            enter(namespace)?;
            work()
        });
        inside.join().unwrap_or_else(|_| Err(io::Error::other("a thread in a namespace panicked")))
    })
}

fn enter_file(namespace: &File) -> io::Result<()> {
    #[expect(unsafe_code, reason = "setns takes a descriptor, which is open, and a flag")]
    let entered = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    if entered == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes a TUN interface in the calling thread's namespace: what the system sends through it is read from the file, packet by
/// packet, and what is written there arrives. Gone when the file is closed.
///
/// # Errors
///
/// When the kernel has no TUN or this needs rights we lack.
pub fn tun(name: &str) -> io::Result<File> {
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        flags: libc::c_short,
        rest: [u8; 22],
    }
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    let mut request = Request { name: [0; 16], flags: TUN | NO_HEADER, rest: [0; 22] };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    #[expect(unsafe_code, reason = "the request is a struct ifreq, 40 bytes, that outlives the call")]
    let set = unsafe { libc::ioctl(file.as_raw_fd(), SET_INTERFACE, &raw mut request) };
    if set == 0 { Ok(file) } else { Err(io::Error::last_os_error()) }
}

/// Cuts the power of a mounted ext4: what was not synced is lost, every later write fails.
///
/// # Errors
///
/// When it is no ext4 or this needs rights we lack.
pub fn cut_power(mounted: &Path) -> io::Result<()> {
    let directory = File::open(mounted)?;
    let mut flags = WITHOUT_FLUSH;
    #[expect(unsafe_code, reason = "the argument is a __u32 that outlives the call")]
    let cut = unsafe { libc::ioctl(directory.as_raw_fd(), EXT4_SHUTDOWN, &raw mut flags) };
    if cut == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Runs a command and gives what it printed.
///
/// # Errors
///
/// When it cannot be started or fails, with what it said.
pub fn command(program: &str, arguments: &[&str]) -> io::Result<String> {
    let output = std::process::Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program} {}: {}, {}", arguments.join(" "), output.status, said.trim())))
}
