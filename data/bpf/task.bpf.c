// SPDX-License-Identifier: Apache-2.0 OR MIT
/*
 * What a process looks like from inside the kernel: on each system call of the process whose id is in `wanted`, its pid, tgid, name and
 * start time are read from its task_struct and put into `observations`.
 *
 *   clang -target bpf -g -O2 -c task.bpf.c -o task.bpf.o
 *
 * Every read is a CO-RE relocation, so the program loads only where the kernel's BTF (or the part of it that btf-minimize keeps) is found.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

/* What was seen. Plain sizes and no padding, so that user space reads it with any language. */
struct observation {
	__u32 pid;
	__u32 tgid;
	__u64 start_boottime; /* of the process, in nanoseconds since boot */
	__u64 calls;          /* system calls seen so far */
	char comm[TASK_COMM_LEN];
};

/* The process to watch: its id in the initial pid namespace, at key 0. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} wanted SEC(".maps");

/* The last observation, at key 0. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct observation);
} observations SEC(".maps");

static __always_inline __u64 start_boottime(struct task_struct *task)
{
	struct task_struct___before_5_5 *old = (void *)task;

	if (bpf_core_field_exists(task->start_boottime))
		return BPF_CORE_READ(task, start_boottime);
	return BPF_CORE_READ(old, real_start_time);
}

SEC("raw_tp/sys_enter")
int observe(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct observation *seen;
	__u32 key = 0, *tgid;

	tgid = bpf_map_lookup_elem(&wanted, &key);
	seen = bpf_map_lookup_elem(&observations, &key);
	if (!tgid || !seen || *tgid != (__u32)BPF_CORE_READ(task, tgid))
		return 0;

	seen->pid = BPF_CORE_READ(task, pid);
	seen->tgid = BPF_CORE_READ(task, tgid);
	seen->start_boottime = start_boottime(BPF_CORE_READ(task, group_leader));
	BPF_CORE_READ_STR_INTO(&seen->comm, task, comm);
	seen->calls++;
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
