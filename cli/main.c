#include <lvsa/lvsa.h>
#include <stdio.h>
int main(void) { puts(lvsa_version()); return 0; }
