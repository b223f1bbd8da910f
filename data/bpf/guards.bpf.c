// SPDX-License-Identifier: Apache-2.0 OR MIT
/*
 * Programs that ask whether the kernel has something before they use it, in the ways in which people and compilers do so, and programs that do not ask, or
 * ask for the wrong thing. No kernel has what they ask for, so those named `guarded_…` load everywhere, and those named `naked_…` nowhere.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct task_struct___never {
	int no_such_member;
	int nor_this_one;
};

struct no_such_struct {
	__u64 member;
};
#pragma clang attribute pop

enum bpf_func_id___never { BPF_FUNC_no_such_helper = 1234 };

__u64 sum;
volatile int choice;

#define TASK ((struct task_struct___never *)bpf_get_current_task())
#define EXISTS(field) bpf_core_field_exists(((struct task_struct___never *)0)->field)
#define READ(field) BPF_CORE_READ(TASK, field)

SEC("raw_tp/sys_enter")
int guarded_directly(void *ctx)
{
	if (EXISTS(no_such_member))
		sum += READ(no_such_member);
	return 0;
}

SEC("raw_tp/sys_enter")
int guarded_by_both(void *ctx)
{
	bool first = EXISTS(no_such_member), second = EXISTS(nor_this_one);

	if (choice && first && second)
		sum += READ(no_such_member) + READ(nor_this_one);
	else if (!first)
		sum++;
	return 0;
}

static __attribute__((noinline)) int has_it(int ignored)
{
	return EXISTS(no_such_member) ? 2 : 0;
}

SEC("raw_tp/sys_enter")
int guarded_by_a_function(void *ctx)
{
	if (has_it(choice))
		sum += READ(no_such_member);
	return 0;
}

static __attribute__((noinline)) int read_if(int wanted)
{
	return wanted ? READ(no_such_member) : 0;
}

SEC("raw_tp/sys_enter")
int guarded_by_an_argument(void *ctx)
{
	sum += read_if(EXISTS(no_such_member));
	return 0;
}

SEC("raw_tp/sys_enter")
int guarded_by_an_enumerator(void *ctx)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id___never, BPF_FUNC_no_such_helper))
		sum += bpf_core_enum_value(enum bpf_func_id___never, BPF_FUNC_no_such_helper);
	return 0;
}

SEC("raw_tp/sys_enter")
int guarded_by_a_size(void *ctx)
{
	if (bpf_core_type_size(struct no_such_struct) > 4)
		sum += READ(no_such_member);
	return 0;
}

SEC("raw_tp/sys_enter")
int guarded_in_a_loop(void *ctx)
{
	bool exists = EXISTS(no_such_member);
	int i;

#pragma clang loop unroll(disable)
	for (i = 0; i < 10; i++) {
		if (exists)
			sum += READ(no_such_member);
		if (choice == i)
			break;
	}
	return 0;
}

SEC("raw_tp/sys_enter")
int guarded_by_an_early_return(void *ctx)
{
	if (!EXISTS(no_such_member))
		return 0;
	sum += READ(no_such_member);
	return 0;
}

SEC("raw_tp/sys_enter")
int naked(void *ctx)
{
	sum += READ(no_such_member);
	return 0;
}

SEC("raw_tp/sys_enter")
int naked_on_one_branch(void *ctx)
{
	if (choice)
		sum += READ(no_such_member);
	return 0;
}

SEC("raw_tp/sys_enter")
int naked_with_the_wrong_guard(void *ctx)
{
	if (bpf_core_field_exists(((struct task_struct *)0)->pid))
		sum += READ(no_such_member);
	return 0;
}

SEC("raw_tp/sys_enter")
int naked_with_a_guard_that_helps_sometimes(void *ctx)
{
	if (EXISTS(no_such_member) || choice == 7)
		sum += READ(no_such_member);
	return 0;
}

static __attribute__((noinline)) int read_it(void)
{
	return READ(no_such_member);
}

SEC("raw_tp/sys_enter")
int naked_in_a_function(void *ctx)
{
	sum += read_it();
	return 0;
}

SEC("raw_tp/sys_enter")
int naked_by_an_argument(void *ctx)
{
	sum += read_if(1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
