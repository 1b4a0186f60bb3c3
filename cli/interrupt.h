/* interrupt.h: Ctrl-C, SIGTERM and SIGHUP. */
#ifndef CLI_INTERRUPT_H
#define CLI_INTERRUPT_H

/* From now on the first signal is only counted, and says that the step will be ended; the next one
 * ends the program with CODE_INTERRUPTED. */
void interrupt_catch(void);

/* How many came. */
int interrupt_count(void);

#endif
