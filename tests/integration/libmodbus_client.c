/* A client on Debian's libmodbus. It prints a line per call: the result, or why the call failed. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <modbus/modbus.h>

static void print_result(const char *call, int result, const uint16_t *registers, int count)
{
    if (result < 0) {
        printf("%s: %s\n", call, modbus_strerror(errno));
        return;
    }
    printf("%s: %d", call, result);
    for (int i = 0; i < count; i++)
        printf(" %u", registers[i]);
    printf("\n");
}

int main(int argc, char **argv)
{
    const uint16_t sample[8] = {250, 260, 485, 536, 850, 456, 22150, 5600};
    const uint16_t changed[2] = {300, 301};
    uint16_t read[125] = {0};

    if (argc != 2)
        return 2;
    modbus_t *client = modbus_new_tcp("127.0.0.1", atoi(argv[1]));
    if (client == NULL || modbus_connect(client) != 0) {
        fprintf(stderr, "connect: %s\n", modbus_strerror(errno));
        return 1;
    }
    modbus_set_slave(client, 1);
    print_result("write registers", modbus_write_registers(client, 0, 8, sample), NULL, 0);
    print_result("read registers", modbus_read_registers(client, 0, 8, read), read, 8);
    print_result("write register", modbus_write_register(client, 4, 0x12), NULL, 0);
    print_result("mask write register", modbus_mask_write_register(client, 4, 0xF2, 0x25), NULL, 0);
    print_result("write and read registers",
         modbus_write_and_read_registers(client, 0, 2, changed, 0, 5, read), read, 5);
    print_result("read past the map", modbus_read_registers(client, 4, 8, read), NULL, 0);
    print_result("read input registers", modbus_read_input_registers(client, 0, 1, read), NULL, 0);
    modbus_set_slave(client, 9);
    print_result("read of unit 9", modbus_read_registers(client, 0, 1, read), NULL, 0);
    modbus_close(client);
    modbus_free(client);
    return 0;
}
