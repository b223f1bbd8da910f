// SPDX-License-Identifier: Apache-2.0 OR MIT
/*
 * What libbpf makes of a BPF object's instructions on a given kernel BTF.
 *
 * Reads lines "MODE BTF OBJECT" from standard input. MODE is "all" to load all programs at once or "alone" to load each one by itself. Prints, for each
 * program, "NAME STATE INSTRUCTIONS", the last in hexadecimal, and then an empty line. STATE is "resolved", "refused" if libbpf gave up on a CO-RE
 * relocation, or "unreached" if something else failed before. Whether the kernel then accepts the program does not matter.
 */
#include <bpf/libbpf.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool reached, refused;

static int watch(enum libbpf_print_level level, const char *format, va_list args)
{
	char text[4096];

	(void)level;
	vsnprintf(text, sizeof(text), format, args);
	if (strstr(text, "CO-RE relocations"))
		reached = true;
	if (strstr(text, "failed to perform CO-RE relocations"))
		refused = true;
	return 0;
}

static void print(const struct bpf_program *program)
{
	const struct bpf_insn *insns = bpf_program__insns(program);
	size_t count = bpf_program__insn_cnt(program), at, byte;
	bool map = false;

	printf("%s %s ", bpf_program__name(program), refused ? "refused" : reached ? "resolved" : "unreached");
	for (at = 0; at < count; at++) {
		struct bpf_insn insn = insns[at];

		/* File descriptors of maps differ between loads. */
		if (map)
			insn.imm = 0;
		map = insn.code == 0x18 && insn.src_reg != 0;
		if (map)
			insn.imm = 0;
		for (byte = 0; byte < sizeof(insn); byte++)
			printf("%02x", ((unsigned char *)&insn)[byte]);
	}
	putchar('\n');
}

/* Loads all programs, or only the one with this number; tells whether there is such a program. */
static bool load(const char *btf, const char *path, int alone)
{
	LIBBPF_OPTS(bpf_object_open_opts, options, .btf_custom_path = btf);
	struct bpf_object *object = bpf_object__open_file(path, &options);
	struct bpf_program *program;
	struct bpf_map *map;
	bool found = false;
	int at = 0;

	reached = refused = false;
	if (libbpf_get_error(object)) {
		printf("- unopened -\n");
		return false;
	}
	bpf_object__for_each_program(program, object) {
		bpf_program__set_autoload(program, alone < 0 || at == alone);
		at++;
	}
	/* Leave nothing behind in the BPF file system. */
	bpf_object__for_each_map(map, object)
		bpf_map__set_pin_path(map, NULL);
	bpf_object__load(object);
	at = 0;
	bpf_object__for_each_program(program, object) {
		if (alone < 0 || at == alone) {
			print(program);
			found = true;
		}
		at++;
	}
	bpf_object__close(object);
	return found;
}

int main(void)
{
	char mode[16], btf[2048], object[2048];
	int at;

	libbpf_set_print(watch);
	while (scanf("%15s %2047s %2047s", mode, btf, object) == 3) {
		if (!strcmp(mode, "all"))
			load(btf, object, -1);
		else
			for (at = 0; load(btf, object, at); at++)
				;
		putchar('\n');
		fflush(stdout);
	}
	return 0;
}
