// SPDX-License-Identifier: Apache-2.0 OR MIT
/*
 * Loads data/bpf/task.bpf.c with libbpf, lets it watch this process, and compares what it read in the kernel with what user space sees.
 *
 *   cc -O2 -Wall -o libbpf_task libbpf_task.c -lbpf
 *   libbpf_task OBJECT        with the BTF that libbpf finds: the kernel's own, or a file such as /boot/vmlinux-R
 *   libbpf_task OBJECT BTF    with the BTF of that file, for instance the one that `btf-fetch get` prints
 *
 * Exit codes: 0 everything read right, 1 could not be loaded or run, 2 usage, 5 loaded and ran, and read something else.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

struct observation {
	uint32_t pid;
	uint32_t tgid;
	uint64_t start_boottime;
	uint64_t calls;
	char comm[16];
};

static int fail(const char *what, long error)
{
	fprintf(stderr, "libbpf_task: %s: %s (%ld)\n", what, strerror(error < 0 ? -error : error), error);
	return 1;
}

/* This process as /proc shows it: its name, and its start in clock ticks since boot (field 22 of stat, counted from the name's end). */
static int look_at_myself(char comm[16], uint64_t *ticks)
{
	char stat[1024] = "", *rest;
	FILE *file = fopen("/proc/self/stat", "r");

	if (!file || !fgets(stat, sizeof(stat), file) || !(rest = strrchr(stat, ')')))
		return -1;
	fclose(file);
	for (int field = 2; field < 22; field++)
		if (!(rest = strchr(rest + 1, ' ')))
			return -1;
	if (sscanf(rest, "%" SCNu64, ticks) != 1)
		return -1;
	file = fopen("/proc/self/comm", "r");
	if (!file || !fgets(comm, 16, file))
		return -1;
	fclose(file);
	comm[strcspn(comm, "\n")] = 0;
	return 0;
}

int main(int argc, char **argv)
{
	LIBBPF_OPTS(bpf_object_open_opts, options);
	struct observation seen;
	struct bpf_object *object;
	struct bpf_program *program;
	uint32_t key = 0, pid = getpid();
	uint64_t ticks, seen_ticks;
	char comm[16];
	long error;

	if (argc != 2 && argc != 3) {
		fprintf(stderr, "usage: libbpf_task OBJECT [BTF]\n");
		return 2;
	}
	options.btf_custom_path = argv[2];
	object = bpf_object__open_file(argv[1], &options);
	if ((error = libbpf_get_error(object)))
		return fail("open", error);
	if ((error = bpf_object__load(object)))
		return fail("load", error);
	if (bpf_map_update_elem(bpf_object__find_map_fd_by_name(object, "wanted"), &key, &pid, BPF_ANY))
		return fail("map `wanted`", -1);
	program = bpf_object__find_program_by_name(object, "observe");
	if (!program)
		return fail("no program `observe`", -2);
	if ((error = libbpf_get_error(bpf_program__attach(program))))
		return fail("attach", error);

	if (look_at_myself(comm, &ticks)) /* and make the system calls that are seen */
		return fail("/proc/self", -5);
	if (bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(object, "observations"), &key, &seen))
		return fail("map `observations`", -1);
	seen_ticks = seen.start_boottime / (1000000000 / sysconf(_SC_CLK_TCK));
	printf("expected  pid %u, tgid %u, comm %s, started at tick %" PRIu64 "\n", pid, pid, comm, ticks);
	printf("seen      pid %u, tgid %u, comm %.16s, started at tick %" PRIu64 " (%" PRIu64 " calls)\n", seen.pid, seen.tgid,
	       seen.comm, seen_ticks, seen.calls);
	return seen.pid == pid && seen.tgid == pid && !strncmp(seen.comm, comm, sizeof(comm)) && seen_ticks == ticks ? 0 : 5;
}
