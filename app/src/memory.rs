//! What the system says of this program's memory, which Linux alone tells, and giving back what was freed.

/// Memory that is taken now, MiB.
pub fn resident_mib() -> Option<f64> {
    status_mib("VmRSS:")
}

/// The most that has been taken, since [`forget_peak`] where that was called, MiB.
pub fn peak_mib() -> Option<f64> {
    status_mib("VmHWM:")
}

/// Lets the peak begin anew, where the system can.
pub fn forget_peak() {
    // Linux: proc(5), clear_refs. Elsewhere the peak is that of the whole program.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Gives memory that was freed back to the system, on a thread of its own: the allocator of glibc keeps what lies between other values.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        #[allow(unsafe_code)]
        // SAFETY: malloc_trim(3) may be called at any time, by any thread.
        unsafe extern "C" {
            safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        let spawned = std::thread::Builder::new().name("give back".to_owned()).spawn(|| malloc_trim(0));
        if let Err(error) = spawned {
            tracing::debug!("memory is kept: {error}");
        }
    }
}

fn status_mib(name: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}
