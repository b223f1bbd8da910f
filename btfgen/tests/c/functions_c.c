/* See functions_a.c. */
void use(const void *pointer) { asm volatile("" : : "r"(pointer) : "memory"); }
__attribute__((cold)) void fail(const char *why) { use(why); }
__attribute__((weak)) int overridden(int name_of_the_weak_one) { return 1; }
__attribute__((weak)) int folded(int name_of_the_weak_one) { return 2; }
