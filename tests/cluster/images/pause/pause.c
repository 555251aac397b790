// PID 1 of a pod sandbox: waits for ever, reaps what is left to it, ends on SIGTERM or SIGINT.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int signal) {
	(void)signal;
	_exit(0);
}

static void reap(int signal) {
	(void)signal;
	while (waitpid(-1, 0, WNOHANG) > 0)
		;
}

int main(void) {
	struct sigaction action = {.sa_flags = SA_NOCLDSTOP};
	action.sa_handler = reap;
	sigaction(SIGCHLD, &action, 0);
	action.sa_handler = end;
	sigaction(SIGTERM, &action, 0);
	sigaction(SIGINT, &action, 0);
	for (;;)
		pause();
}
