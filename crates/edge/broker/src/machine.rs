//! What the broker asks of the machine it runs on, beside its ports.

use jocko_types::Uuid;

/// Memory that is assumed where the machine does not say.
const MEMORY_BYTES_UNKNOWN: usize = 1 << 30;

/// Memory this process may use: the machine's, or its control group's if that is less.
pub(crate) fn memory_bytes() -> usize {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        let kilobytes: usize = line.split_whitespace().next()?.parse().ok()?;
        kilobytes.checked_mul(1024)
    });
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .into_iter()
        .find_map(|path| std::fs::read_to_string(path).ok()?.trim().parse::<usize>().ok());
    let machine = machine.unwrap_or(MEMORY_BYTES_UNKNOWN);
    group.map_or(machine, |group| group.min(machine))
}

/// Tells this run of the machine from others: if only the process died, the page cache lived.
pub(crate) fn boot_id() -> Option<Uuid> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).ok().map(|number| Uuid::from_bytes(number.to_be_bytes()))
}

/// What this process uses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_bytes: u64,
    pub(crate) descriptors: usize,
}

/// Read from the system, where it tells.
pub(crate) fn usage() -> Option<Usage> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in parentheses, may hold anything; fixed fields come after it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
    Some(Usage {
        cpu_seconds: (number(11)? + number(12)?) as f64 / ticks_per_second,
        resident_bytes: number(21)? * rustix::param::page_size() as u64,
        descriptors: std::fs::read_dir("/proc/self/fd").ok()?.count(),
    })
}
