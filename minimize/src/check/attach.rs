//! What a program's section says: which type of program it is, and what of the kernel it is attached to.
//!
//! Source: `section_defs` in libbpf's `libbpf.c`, and where each kind of target shows in a kernel's BTF: tracepoints as typedefs `btf_trace_NAME`, LSM hooks as
//! functions `bpf_lsm_NAME`, iterators as `bpf_iter_NAME`, struct_ops as `struct bpf_struct_ops_NAME`.

/// What a section's name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attach {
    /// The type of program, as the kernel's enum `bpf_prog_type` has it; empty for sections that no loader knows by name.
    pub program_type: &'static str,
    /// How it is attached, as the kernel's enum `bpf_attach_type` has it, where that is a feature of its own.
    pub attach_type: Option<&'static str>,
    /// What it is attached to, where the section names it.
    pub target: Option<Target>,
    /// Whether loading needs the BTF of the running kernel itself, and BTF from elsewhere does not do.
    pub needs_kernel_btf: bool,
}

/// A place in the kernel that a program is attached to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// A function, found by its symbol: one that BTF does not have may still be there (static, renamed by the compiler).
    Symbol(String),
    /// A function, found in BTF.
    Function(String),
    /// A tracepoint: of this group, where the section names one.
    Tracepoint {
        /// `sched` in `tp/sched/sched_switch`.
        group: Option<String>,
        /// `sched_switch`.
        name: String,
    },
    /// A system call.
    Syscall(String),
    /// An LSM hook.
    Lsm(String),
    /// An iterator.
    Iterator(String),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Symbol(name) | Target::Function(name) => write!(f, "function {name}"),
            Target::Tracepoint { group: Some(group), name } => write!(f, "tracepoint {group}:{name}"),
            Target::Tracepoint { group: None, name } => write!(f, "tracepoint {name}"),
            Target::Syscall(name) => write!(f, "system call {name}"),
            Target::Lsm(name) => write!(f, "LSM hook {name}"),
            Target::Iterator(name) => write!(f, "iterator {name}"),
        }
    }
}

/// What the rest of a section's name is.
#[derive(Clone, Copy)]
enum Rest {
    Nothing,
    Symbol,
    /// Of all functions that a pattern matches.
    Pattern,
    Function,
    Event,
    RawEvent,
    Syscall,
    Lsm,
    Iterator,
}

/// Prefix, type of program, type of attachment, rest, whether the kernel's own BTF is needed.
type Row = (&'static str, &'static str, Option<&'static str>, Rest, bool);

const SECTIONS: &[Row] = &[
    ("socket", "SOCKET_FILTER", None, Rest::Nothing, false),
    ("kprobe", "KPROBE", None, Rest::Symbol, false),
    ("kretprobe", "KPROBE", None, Rest::Symbol, false),
    ("uprobe", "KPROBE", None, Rest::Nothing, false),
    ("uretprobe", "KPROBE", None, Rest::Nothing, false),
    ("uprobe.s", "KPROBE", None, Rest::Nothing, false),
    ("uretprobe.s", "KPROBE", None, Rest::Nothing, false),
    ("kprobe.multi", "KPROBE", Some("BPF_TRACE_KPROBE_MULTI"), Rest::Pattern, false),
    ("kretprobe.multi", "KPROBE", Some("BPF_TRACE_KPROBE_MULTI"), Rest::Pattern, false),
    ("kprobe.session", "KPROBE", Some("BPF_TRACE_KPROBE_SESSION"), Rest::Pattern, false),
    ("uprobe.multi", "KPROBE", Some("BPF_TRACE_UPROBE_MULTI"), Rest::Nothing, false),
    ("uretprobe.multi", "KPROBE", Some("BPF_TRACE_UPROBE_MULTI"), Rest::Nothing, false),
    ("uprobe.multi.s", "KPROBE", Some("BPF_TRACE_UPROBE_MULTI"), Rest::Nothing, false),
    ("uretprobe.multi.s", "KPROBE", Some("BPF_TRACE_UPROBE_MULTI"), Rest::Nothing, false),
    ("ksyscall", "KPROBE", None, Rest::Syscall, false),
    ("kretsyscall", "KPROBE", None, Rest::Syscall, false),
    ("usdt", "KPROBE", None, Rest::Nothing, false),
    ("usdt.s", "KPROBE", None, Rest::Nothing, false),
    ("tc", "SCHED_CLS", None, Rest::Nothing, false),
    ("tcx", "SCHED_CLS", Some("BPF_TCX_INGRESS"), Rest::Nothing, false),
    ("netkit", "SCHED_CLS", Some("BPF_NETKIT_PRIMARY"), Rest::Nothing, false),
    ("classifier", "SCHED_CLS", None, Rest::Nothing, false),
    ("action", "SCHED_ACT", None, Rest::Nothing, false),
    ("tracepoint", "TRACEPOINT", None, Rest::Event, false),
    ("tp", "TRACEPOINT", None, Rest::Event, false),
    ("raw_tracepoint", "RAW_TRACEPOINT", None, Rest::RawEvent, false),
    ("raw_tp", "RAW_TRACEPOINT", None, Rest::RawEvent, false),
    ("raw_tracepoint.w", "RAW_TRACEPOINT_WRITABLE", None, Rest::RawEvent, false),
    ("raw_tp.w", "RAW_TRACEPOINT_WRITABLE", None, Rest::RawEvent, false),
    ("tp_btf", "TRACING", Some("BPF_TRACE_RAW_TP"), Rest::RawEvent, true),
    ("fentry", "TRACING", Some("BPF_TRACE_FENTRY"), Rest::Function, true),
    ("fexit", "TRACING", Some("BPF_TRACE_FEXIT"), Rest::Function, true),
    ("fmod_ret", "TRACING", Some("BPF_MODIFY_RETURN"), Rest::Function, true),
    ("fentry.s", "TRACING", Some("BPF_TRACE_FENTRY"), Rest::Function, true),
    ("fexit.s", "TRACING", Some("BPF_TRACE_FEXIT"), Rest::Function, true),
    ("fmod_ret.s", "TRACING", Some("BPF_MODIFY_RETURN"), Rest::Function, true),
    ("freplace", "EXT", None, Rest::Nothing, true),
    ("lsm", "LSM", Some("BPF_LSM_MAC"), Rest::Lsm, true),
    ("lsm.s", "LSM", Some("BPF_LSM_MAC"), Rest::Lsm, true),
    ("lsm_cgroup", "LSM", Some("BPF_LSM_CGROUP"), Rest::Lsm, true),
    ("iter", "TRACING", Some("BPF_TRACE_ITER"), Rest::Iterator, true),
    ("iter.s", "TRACING", Some("BPF_TRACE_ITER"), Rest::Iterator, true),
    ("syscall", "SYSCALL", None, Rest::Nothing, false),
    ("struct_ops", "STRUCT_OPS", None, Rest::Nothing, true),
    ("struct_ops.s", "STRUCT_OPS", None, Rest::Nothing, true),
    ("xdp", "XDP", None, Rest::Nothing, false),
    ("xdp.frags", "XDP", None, Rest::Nothing, false),
    ("xdp/devmap", "XDP", Some("BPF_XDP_DEVMAP"), Rest::Nothing, false),
    ("xdp.frags/devmap", "XDP", Some("BPF_XDP_DEVMAP"), Rest::Nothing, false),
    ("xdp/cpumap", "XDP", Some("BPF_XDP_CPUMAP"), Rest::Nothing, false),
    ("xdp.frags/cpumap", "XDP", Some("BPF_XDP_CPUMAP"), Rest::Nothing, false),
    ("perf_event", "PERF_EVENT", None, Rest::Nothing, false),
    ("lwt_in", "LWT_IN", None, Rest::Nothing, false),
    ("lwt_out", "LWT_OUT", None, Rest::Nothing, false),
    ("lwt_xmit", "LWT_XMIT", None, Rest::Nothing, false),
    ("lwt_seg6local", "LWT_SEG6LOCAL", None, Rest::Nothing, false),
    ("sockops", "SOCK_OPS", None, Rest::Nothing, false),
    ("sk_skb", "SK_SKB", None, Rest::Nothing, false),
    ("sk_skb/verdict", "SK_SKB", Some("BPF_SK_SKB_VERDICT"), Rest::Nothing, false),
    ("sk_msg", "SK_MSG", None, Rest::Nothing, false),
    ("lirc_mode2", "LIRC_MODE2", None, Rest::Nothing, false),
    ("flow_dissector", "FLOW_DISSECTOR", None, Rest::Nothing, false),
    ("cgroup_skb", "CGROUP_SKB", None, Rest::Nothing, false),
    ("cgroup/skb", "CGROUP_SKB", None, Rest::Nothing, false),
    ("cgroup/sock_create", "CGROUP_SOCK", None, Rest::Nothing, false),
    ("cgroup/sock_release", "CGROUP_SOCK", Some("BPF_CGROUP_INET_SOCK_RELEASE"), Rest::Nothing, false),
    ("cgroup/sock", "CGROUP_SOCK", None, Rest::Nothing, false),
    ("cgroup/post_bind4", "CGROUP_SOCK", Some("BPF_CGROUP_INET4_POST_BIND"), Rest::Nothing, false),
    ("cgroup/post_bind6", "CGROUP_SOCK", Some("BPF_CGROUP_INET6_POST_BIND"), Rest::Nothing, false),
    ("cgroup/bind4", "CGROUP_SOCK_ADDR", Some("BPF_CGROUP_INET4_BIND"), Rest::Nothing, false),
    ("cgroup/bind6", "CGROUP_SOCK_ADDR", Some("BPF_CGROUP_INET6_BIND"), Rest::Nothing, false),
    ("cgroup/connect4", "CGROUP_SOCK_ADDR", Some("BPF_CGROUP_INET4_CONNECT"), Rest::Nothing, false),
    ("cgroup/connect6", "CGROUP_SOCK_ADDR", Some("BPF_CGROUP_INET6_CONNECT"), Rest::Nothing, false),
    ("cgroup/connect_unix", "CGROUP_SOCK_ADDR", Some("BPF_CGROUP_UNIX_CONNECT"), Rest::Nothing, false),
    ("cgroup/sendmsg4", "CGROUP_SOCK_ADDR", Some("BPF_CGROUP_UDP4_SENDMSG"), Rest::Nothing, false),
    ("cgroup/sendmsg6", "CGROUP_SOCK_ADDR", Some("BPF_CGROUP_UDP6_SENDMSG"), Rest::Nothing, false),
    ("cgroup/recvmsg4", "CGROUP_SOCK_ADDR", Some("BPF_CGROUP_UDP4_RECVMSG"), Rest::Nothing, false),
    ("cgroup/recvmsg6", "CGROUP_SOCK_ADDR", Some("BPF_CGROUP_UDP6_RECVMSG"), Rest::Nothing, false),
    ("cgroup/getpeername4", "CGROUP_SOCK_ADDR", Some("BPF_CGROUP_INET4_GETPEERNAME"), Rest::Nothing, false),
    ("cgroup/getpeername6", "CGROUP_SOCK_ADDR", Some("BPF_CGROUP_INET6_GETPEERNAME"), Rest::Nothing, false),
    ("cgroup/getsockname4", "CGROUP_SOCK_ADDR", Some("BPF_CGROUP_INET4_GETSOCKNAME"), Rest::Nothing, false),
    ("cgroup/getsockname6", "CGROUP_SOCK_ADDR", Some("BPF_CGROUP_INET6_GETSOCKNAME"), Rest::Nothing, false),
    ("cgroup/sysctl", "CGROUP_SYSCTL", None, Rest::Nothing, false),
    ("cgroup/getsockopt", "CGROUP_SOCKOPT", None, Rest::Nothing, false),
    ("cgroup/setsockopt", "CGROUP_SOCKOPT", None, Rest::Nothing, false),
    ("cgroup/dev", "CGROUP_DEVICE", None, Rest::Nothing, false),
    ("sk_reuseport", "SK_REUSEPORT", None, Rest::Nothing, false),
    (
        "sk_reuseport/migrate",
        "SK_REUSEPORT",
        Some("BPF_SK_REUSEPORT_SELECT_OR_MIGRATE"),
        Rest::Nothing,
        false,
    ),
    ("sk_lookup", "SK_LOOKUP", None, Rest::Nothing, false),
    ("netfilter", "NETFILTER", None, Rest::Nothing, false),
];

impl Attach {
    /// What the name of a program's section means to libbpf.
    pub fn of_section(section: &str) -> Attach {
        let section = section.strip_prefix('?').unwrap_or(section); // not loaded unless asked for
        let fits = |prefix: &str| match section.strip_prefix(prefix) {
            Some("") => Some(""),
            Some(rest) => rest.strip_prefix('/'),
            None => None,
        };
        let longest =
            SECTIONS.iter().filter_map(|row| Some((row, fits(row.0)?))).max_by_key(|(row, _)| row.0.len());
        let Some((&(_, program_type, attach_type, kind, needs_kernel_btf), rest)) = longest else {
            return Attach { program_type: "", attach_type: None, target: None, needs_kernel_btf: false };
        };
        let target = Some(rest).filter(|rest| !rest.is_empty()).and_then(|rest| target(kind, rest));
        Attach { program_type, attach_type, target, needs_kernel_btf }
    }
}

fn target(kind: Rest, rest: &str) -> Option<Target> {
    let name = rest.to_owned();
    match kind {
        Rest::Nothing => None,
        // `function+0x10`
        Rest::Symbol => Some(Target::Symbol(rest.split('+').next().unwrap_or(rest).to_owned())),
        Rest::Pattern if rest.contains(['*', '?']) => None,
        Rest::Pattern => Some(Target::Symbol(name)),
        Rest::Function => Some(Target::Function(name)),
        Rest::Event => {
            let (group, name) = rest.split_once('/')?;
            let call = name.strip_prefix("sys_enter_").or_else(|| name.strip_prefix("sys_exit_"));
            match call.filter(|_| group == "syscalls") {
                Some(call) => Some(Target::Syscall(call.to_owned())),
                None => Some(Target::Tracepoint { group: Some(group.to_owned()), name: name.to_owned() }),
            }
        }
        Rest::RawEvent => Some(Target::Tracepoint { group: None, name }),
        Rest::Syscall => Some(Target::Syscall(name)),
        Rest::Lsm => Some(Target::Lsm(name)),
        Rest::Iterator => Some(Target::Iterator(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check what section names of every form mean.
    #[test]
    fn sections() {
        let tracepoint = |group: Option<&str>, name: &str| {
            Some(Target::Tracepoint { group: group.map(str::to_owned), name: name.to_owned() })
        };
        for (section, program_type, target, needs) in [
            ("kprobe/do_unlinkat", "KPROBE", Some(Target::Symbol("do_unlinkat".into())), false),
            ("kprobe/vfs_read+0x10", "KPROBE", Some(Target::Symbol("vfs_read".into())), false),
            ("kprobe", "KPROBE", None, false),
            ("kprobe.multi/vfs_*", "KPROBE", None, false),
            ("?fentry/vfs_read", "TRACING", Some(Target::Function("vfs_read".into())), true),
            ("fentry.s/vfs_read", "TRACING", Some(Target::Function("vfs_read".into())), true),
            ("tp/sched/sched_switch", "TRACEPOINT", tracepoint(Some("sched"), "sched_switch"), false),
            (
                "tracepoint/syscalls/sys_enter_openat",
                "TRACEPOINT",
                Some(Target::Syscall("openat".into())),
                false,
            ),
            ("raw_tp/sys_enter", "RAW_TRACEPOINT", tracepoint(None, "sys_enter"), false),
            ("tp_btf/sched_switch", "TRACING", tracepoint(None, "sched_switch"), true),
            ("lsm/file_open", "LSM", Some(Target::Lsm("file_open".into())), true),
            ("iter/task", "TRACING", Some(Target::Iterator("task".into())), true),
            ("xdp", "XDP", None, false),
            ("xdp.frags/devmap", "XDP", None, false),
            ("cgroup/connect4", "CGROUP_SOCK_ADDR", None, false),
            ("struct_ops/init", "STRUCT_OPS", None, true),
            ("my_own_section", "", None, false),
            ("kprobes/x", "", None, false),
        ] {
            let attach = Attach::of_section(section);
            assert_eq!(
                (attach.program_type, attach.target, attach.needs_kernel_btf),
                (program_type, target, needs),
                "{section}"
            );
        }
    }
}
