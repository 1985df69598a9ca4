import java.net.Authenticator;
import java.net.PasswordAuthentication;
import java.net.URL;

/** Writes what is at a URL to standard output: URL [USER PASSWORD], the latter for the proxy. */
class Fetch {
    public static void main(String[] arguments) throws Exception {
        if (arguments.length > 1) {
            Authenticator.setDefault(new Authenticator() {
                @Override
                protected PasswordAuthentication getPasswordAuthentication() {
                    return new PasswordAuthentication(arguments[1], arguments[2].toCharArray());
                }
            });
        }
        try (var in = new URL(arguments[0]).openStream()) {
            in.transferTo(System.out);
        }
        System.out.flush();
    }
}
