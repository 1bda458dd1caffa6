/* A server for many connections on libmodbus, written like libmodbus's example bandwidth-server-many-up.c: one thread,
 * select, modbus_receive, modbus_reply. It adds TCP_NODELAY, as the TCP implementation guide recommends and all other
 * servers of the benchmark do. Without it, pipelined replies wait for one another.
 *
 *   libmodbus_server HOST PORT
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#include <modbus/modbus.h>

enum { REGISTERS = 8, BACKLOG = 128 };

int main(int argc, char **argv)
{
    const uint16_t preset[REGISTERS] = {250, 260, 485, 536, 850, 456, 22150, 5600};
    uint8_t request[MODBUS_TCP_MAX_ADU_LENGTH];
    fd_set watched, ready;

    if (argc != 3)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    modbus_t *server = modbus_new_tcp(argv[1], atoi(argv[2]));
    modbus_mapping_t *mapping = modbus_mapping_new(0, 0, REGISTERS, 0);
    if (server == NULL || mapping == NULL)
        return 1;
    memcpy(mapping->tab_registers, preset, sizeof preset);
    int listening = modbus_tcp_listen(server, BACKLOG);
    if (listening < 0) {
        perror("modbus_tcp_listen");
        return 1;
    }
    FD_ZERO(&watched);
    FD_SET(listening, &watched);
    int highest = listening;
    for (;;) {
        ready = watched;
        if (select(highest + 1, &ready, NULL, NULL, NULL) < 0) {
            perror("select");
            return 1;
        }
        for (int fd = 0; fd <= highest; fd++) {
            if (!FD_ISSET(fd, &ready))
                continue;
            if (fd == listening) {
                int client = accept(listening, NULL, NULL);
                if (client >= FD_SETSIZE) { /* select can't watch it */
                    close(client);
                } else if (client >= 0) {
                    const int on = 1;
                    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                    FD_SET(client, &watched);
                    highest = client > highest ? client : highest;
                }
                continue;
            }
            modbus_set_socket(server, fd);
            int length = modbus_receive(server, request);
            if (length > 0)
                modbus_reply(server, request, length, mapping);
            else if (length < 0) {
                close(fd);
                FD_CLR(fd, &watched);
                while (highest > listening && !FD_ISSET(highest, &watched))
                    highest--;
            }
        }
    }
}
