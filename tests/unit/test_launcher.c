/* test_launcher.c: what launchers say of a process in their variables. */
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include "engine/parallel/launcher.h"

static const char *const variables[] = {"OMPI_COMM_WORLD_SIZE",
                                        "OMPI_COMM_WORLD_LOCAL_RANK",
                                        "OMPI_COMM_WORLD_LOCAL_SIZE",
                                        "PMI_SIZE",
                                        "PMIX_RANK",
                                        "MPI_LOCALRANKID",
                                        "MPI_LOCALNRANKS",
                                        "RANK",
                                        "WORLD_SIZE",
                                        "LOCAL_RANK",
                                        "LOCAL_WORLD_SIZE",
                                        "MASTER_ADDR",
                                        "MASTER_PORT",
                                        "LVSA_COMM_PORT",
                                        "LVSA_COMM_TIMEOUT",
                                        "SLURM_STEP_NUM_TASKS",
                                        "SLURM_PROCID",
                                        "SLURM_LOCALID",
                                        "SLURM_JOB_ID",
                                        "SLURM_STEP_ID",
                                        "SLURM_STEP_NODELIST",
                                        "SLURM_STEP_TASKS_PER_NODE",
                                        "SLURM_NTASKS"};

/* NULL takes it away. */
static void say(const char *variable, const char *value)
{
    if (value) setenv(variable, value, 1);
    else unsetenv(variable);
}

static int say_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) say(variables[i], NULL);
    return 0;
}

static void say_torchrun(const char *host, const char *port)
{
    say("RANK", "3");
    say("LOCAL_RANK", "1");
    say("WORLD_SIZE", "4");
    say("MASTER_ADDR", host);
    say("MASTER_PORT", port);
}

static void say_srun(const char *hosts)
{
    say("SLURM_STEP_NUM_TASKS", "4");
    say("SLURM_PROCID", "2");
    say("SLURM_LOCALID", "0");
    say("SLURM_JOB_ID", "8193");
    say("SLURM_STEP_ID", "1");
    say("SLURM_STEP_NODELIST", hosts);
}

static void check_place(const char *place)
{
    lv_launch l;
    CHECK_OK(lv_launch_read(&l));
    assert_int_equal(l.launcher, LV_LAUNCHER_PLAIN);
    assert_string_equal(l.place, place);
}

static void nobody_says_anything(void **state)
{
    (void)state;
    lv_launch l;
    CHECK_OK(lv_launch_read(&l));
    assert_true(l.launcher == LV_LAUNCHER_NONE && l.size == 1);
    say("SLURM_NTASKS", "4"); /* of a batch script */
    say("SLURM_PROCID", "0");
    say("RANK", "1"); /* of no launcher: there is no size, or no host */
    CHECK_OK(lv_launch_read(&l));
    assert_true(l.launcher == LV_LAUNCHER_NONE && l.size == 1);
    say("WORLD_SIZE", "2");
    CHECK_OK(lv_launch_read(&l));
    assert_true(l.launcher == LV_LAUNCHER_NONE && l.size == 1);
    say("MASTER_ADDR", "host");
    say("WORLD_SIZE", "1");
    say("RANK", "0");
    CHECK_OK(lv_launch_read(&l));
    assert_true(l.launcher == LV_LAUNCHER_NONE && l.size == 1);
}

static void mpirun_goes_before(void **state)
{
    (void)state;
    lv_launch l;
    say_srun("host");
    say_torchrun("host", "29500");
    say("OMPI_COMM_WORLD_SIZE", "6");
    say("OMPI_COMM_WORLD_LOCAL_RANK", "5");
    CHECK_OK(lv_launch_read(&l));
    assert_true(l.launcher == LV_LAUNCHER_MPI && l.size == 6 && l.local == 5);
    assert_string_equal(l.variable, "OMPI_COMM_WORLD_SIZE");
    say_nothing(NULL);
    say("PMI_SIZE", "2");
    CHECK_OK(lv_launch_read(&l));
    assert_true(l.launcher == LV_LAUNCHER_MPI && l.size == 2 && l.local == -1);
    say("SLURM_LOCALID", "1");
    CHECK_OK(lv_launch_read(&l));
    assert_int_equal(l.local, 1);
    say("OMPI_COMM_WORLD_SIZE", "1");
    CHECK_OK(lv_launch_read(&l));
    assert_int_equal(l.launcher, LV_LAUNCHER_NONE);
}

static void torchrun_listens_itself(void **state)
{
    (void)state;
    lv_launch l;
    say_torchrun("10.0.0.7", "29500");
    CHECK_OK(lv_launch_read(&l));
    assert_true(l.rank == 3 && l.size == 4 && l.local == 1);
    assert_string_equal(l.variable, "WORLD_SIZE");
    check_place("10.0.0.7:29501");
    say("MASTER_ADDR", "fe80::1");
    check_place("[fe80::1]:29501");
    say("MASTER_PORT", "65534");
    check_place("[fe80::1]:65535");
    say("LVSA_COMM_PORT", "77");
    check_place("[fe80::1]:77");
    say("MASTER_PORT", "65535");
    CHECK_FAILS(lv_launch_read(&l), LVSA_ERR_ARGUMENT, "MASTER_PORT=65535: a port");
    say("MASTER_PORT", "1");
    say("LVSA_COMM_PORT", "65536");
    CHECK_FAILS(lv_launch_read(&l), LVSA_ERR_ARGUMENT, "LVSA_COMM_PORT=65536: a port, 1 to 65535");
    say("LVSA_COMM_PORT", NULL);
    say("RANK", "4");
    CHECK_FAILS(lv_launch_read(&l), LVSA_ERR_ARGUMENT, "RANK=4: a number below");
    say("RANK", NULL);
    CHECK_FAILS(lv_launch_read(&l), LVSA_ERR_ARGUMENT,
                "WORLD_SIZE says 4 processes, and RANK isn't set");
    say("WORLD_SIZE", "four");
    CHECK_FAILS(lv_launch_read(&l), LVSA_ERR_ARGUMENT, "WORLD_SIZE=four: a number of processes");
    char host[400];
    memset(host, 'a', sizeof host - 1);
    host[sizeof host - 1] = '\0';
    say_torchrun(host, "29500");
    CHECK_FAILS(lv_launch_read(&l), LVSA_ERR_ARGUMENT, "a name is wanted");
}

/* The first host of a list has rank 0; the port is the job's and the step's. */
static void srun_lists_hosts(void **state)
{
    (void)state;
    static const char *const lists[][2] = {{"node7", "node7:16386"},
                                           {"node7,node8", "node7:16386"},
                                           {"node[03-04,07],other", "node03:16386"},
                                           {"node[12,14]", "node12:16386"},
                                           {"rack[1-2]-node[05-06].lan", "rack1-node05.lan:16386"},
                                           {"node[3", "node3:16386"}};
    lv_launch l;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        say_srun(lists[i][0]);
        check_place(lists[i][1]);
    }
    CHECK_OK(lv_launch_read(&l));
    assert_true(l.rank == 2 && l.size == 4 && l.local == 0);
    say("LVSA_COMM_PORT", "77");
    check_place("node3:77");
    say("SLURM_STEP_NODELIST", NULL);
    CHECK_FAILS(lv_launch_read(&l), LVSA_ERR_ARGUMENT, "the host of rank 0, \"\": a name");
    say("SLURM_JOB_ID", "x");
    CHECK_FAILS(lv_launch_read(&l), LVSA_ERR_ARGUMENT, "SLURM_JOB_ID=x: a job's number");
}

/* Ready for MPI, processes can still meet without it; an mpirun's aren't srun's own. */
static void srun_is_ready_for_mpi(void **state)
{
    (void)state;
    static const char *const signs[][2] = {{"PMIX_RANK", "2"}, {"PMI_SIZE", "4"}};
    lv_launch l;
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++) {
        say_nothing(NULL);
        say_srun("node7");
        say(signs[i][0], signs[i][1]);
        CHECK_OK(lv_launch_read(&l));
        assert_true(l.launcher == LV_LAUNCHER_MPI && l.size == 4 && l.rank == 2 && l.local == 0);
        assert_string_equal(l.variable, "SLURM_STEP_NUM_TASKS");
        assert_string_equal(l.place, "node7:16386");
    }
    say("PMI_SIZE", "8");
    CHECK_OK(lv_launch_read(&l));
    assert_true(l.launcher == LV_LAUNCHER_MPI && l.size == 8);
    assert_string_equal(l.variable, "PMI_SIZE");
    assert_string_equal(l.place, "");
}

/* Of this host, or of the first one. */
static void hosts_are_shared(void **state)
{
    (void)state;
    lv_launch l;
    say_torchrun("host", "29500");
    CHECK_OK(lv_launch_read(&l));
    assert_int_equal(l.local_size, 1);
    say("LOCAL_WORLD_SIZE", "2");
    CHECK_OK(lv_launch_read(&l));
    assert_int_equal(l.local_size, 2);
    say("LOCAL_WORLD_SIZE", "5");
    CHECK_FAILS(lv_launch_read(&l), LVSA_ERR_ARGUMENT, "LOCAL_WORLD_SIZE=5: a number of processes");
    say("OMPI_COMM_WORLD_SIZE", "6");
    say("OMPI_COMM_WORLD_LOCAL_SIZE", "3");
    CHECK_OK(lv_launch_read(&l));
    assert_int_equal(l.local_size, 3);
    say_nothing(NULL);
    static const struct {
        const char *list;
        int first;
    } lists[] = {{NULL, 1}, {"2(x2)", 2}, {"3,1", 3}, {"4", 4}, {"x", 1}};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        say_srun("node[1-2]");
        say("SLURM_STEP_TASKS_PER_NODE", lists[i].list);
        CHECK_OK(lv_launch_read(&l));
        assert_int_equal(l.local_size, lists[i].first);
    }
    say("SLURM_STEP_NUM_TASKS", NULL);
    say("PMI_SIZE", "2");
    say("MPI_LOCALNRANKS", "2");
    CHECK_OK(lv_launch_read(&l));
    assert_int_equal(l.local_size, 2);
}

static void patience_ends(void **state)
{
    (void)state;
    lv_launch l;
    say_torchrun("host", "29500");
    CHECK_OK(lv_launch_read(&l));
    assert_int_equal(l.seconds, 120);
    say("LVSA_COMM_TIMEOUT", "3");
    CHECK_OK(lv_launch_read(&l));
    assert_int_equal(l.seconds, 3);
    say("LVSA_COMM_TIMEOUT", "0");
    CHECK_FAILS(lv_launch_read(&l), LVSA_ERR_ARGUMENT, "LVSA_COMM_TIMEOUT=0: a number of seconds");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nobody_says_anything, say_nothing, say_nothing),
        cmocka_unit_test_setup_teardown(mpirun_goes_before, say_nothing, say_nothing),
        cmocka_unit_test_setup_teardown(torchrun_listens_itself, say_nothing, say_nothing),
        cmocka_unit_test_setup_teardown(srun_lists_hosts, say_nothing, say_nothing),
        cmocka_unit_test_setup_teardown(srun_is_ready_for_mpi, say_nothing, say_nothing),
        cmocka_unit_test_setup_teardown(hosts_are_shared, say_nothing, say_nothing),
        cmocka_unit_test_setup_teardown(patience_ends, say_nothing, say_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
