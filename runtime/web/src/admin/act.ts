import { asApiError } from "../api/client";
import { errorText } from "../i18n";
import { toast } from "../ui/toasts";

/** Do something for an administrator and say how it went; true when it went well. */
export async function act(work: () => Promise<unknown>, done: string): Promise<boolean> {
  try {
    await work();
  } catch (reason) {
    const error = asApiError(reason);
    const said = errorText(error);
    // Administrators can use the precise words of the service; they are English.
    toast(`${said.what} ${error.message === said.what ? said.fix : error.message}`, { kind: "error", icon: "warning" });
    return false;
  }
  toast(done, { icon: "check" });
  return true;
}
