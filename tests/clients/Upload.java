import java.net.Authenticator;
import java.net.InetSocketAddress;
import java.net.PasswordAuthentication;
import java.net.Proxy;
import java.net.Socket;

/**
 * Sends standard input to a target through a SOCKS5 proxy, closes its side, and writes the answer:
 * PROXY PORT TARGET PORT USER PASSWORD. The proxy looks up the target if it is a name.
 */
class Upload {
    public static void main(String[] arguments) throws Exception {
        Authenticator.setDefault(new Authenticator() {
            @Override
            protected PasswordAuthentication getPasswordAuthentication() {
                return new PasswordAuthentication(arguments[4], arguments[5].toCharArray());
            }
        });
        var server = new InetSocketAddress(arguments[0], Integer.parseInt(arguments[1]));
        var port = Integer.parseInt(arguments[3]);
        var isAddress = arguments[2].matches("[0-9.]+|.*:.*");
        var target = isAddress
                ? new InetSocketAddress(arguments[2], port)
                : InetSocketAddress.createUnresolved(arguments[2], port);
        try (var socket = new Socket(new Proxy(Proxy.Type.SOCKS, server))) {
            socket.connect(target);
            System.in.transferTo(socket.getOutputStream());
            socket.shutdownOutput();
            socket.getInputStream().transferTo(System.out);
        }
        System.out.flush();
    }
}
