/* Finds a member of a tar file (standard input) the way bcc's tools do, and writes its bytes: names of at most 99 bytes compared whole with the header's first
 * field, lengths as octal numbers, types, prefixes and links not looked at. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	static char data[1 << 24];
	size_t have = fread(data, 1, sizeof data, stdin), at = 0;
	unsigned length;

	if (argc != 2 || strlen(argv[1]) > 99)
		return 2;
	while (at + 512 <= have && data[at]) {
		if (sscanf(data + at + 124, "%o", &length) != 1)
			return 3;
		if (!strcmp(data + at, argv[1]))
			return fwrite(data + at + 512, 1, length, stdout) == length ? 0 : 4;
		at += 512 + (length + 511) / 512 * 512;
	}
	return 1;
}
